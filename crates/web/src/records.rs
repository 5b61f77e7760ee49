//! Reading a record. What comes back has the same status, shape and wording whether something is
//! closed by a rule or not there.

use crate::border;
use crate::json::Json;
use crate::limits::Gate;
use crate::problem::{Answer, Problem};
use crate::rule::Purpose;
use crate::signed::By;
use aegle_centre::{Ask, Centre, Names, Whose};
use aegle_ledger::Wish;
use aegle_model::Name;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use utoipa::ToSchema;

/// What is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordRequest {
    /// The patient's handle; absent for the own record.
    #[schema(example = "K7QF-2M9X-4TBA-Z")]
    patient: Option<String>,
    /// What for.
    purpose: Purpose,
    /// Why, in words; needed in an emergency.
    reason: Option<String>,
    /// Tags by the code of the centre; absent for everything at every centre.
    #[serde(default)]
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    wishes: BTreeMap<String, Vec<Name>>,
    /// An uncompressed P-256 point of a one-time key, 65 bytes in base 64; the parts are sealed to it.
    recipient: String,
}

/// What came back.
#[derive(Serialize, ToSchema)]
pub(crate) struct Record {
    /// The request's id: 16 bytes in hex.
    request: String,
    /// The receipt's hash: 32 bytes in hex. Request and receipt are the associated data of every part.
    receipt: String,
    /// One part per centre asked.
    parts: Vec<RecordPart>,
}

/// What one centre answered.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecordPart {
    /// The centre's code.
    centre: String,
    /// Whether the centre answered.
    status: PartStatus,
    /// The part: HPKE (RFC 9180), encapsulated key and ciphertext, in base 64.
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
}

/// Whether a centre answered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum PartStatus {
    Answered,
    Missing,
}

/// Asks for a record. The request is in the patient's log before anything leaves.
#[utoipa::path(post, path = "/records", tag = "records", security(("token" = [])), request_body = RecordRequest, responses(
    (status = 200, description = "one sealed part per centre", body = Record),
    (status = 401, description = "not signed in", body = Problem),
    (status = 403, description = "only patients and professionals read records", body = Problem),
    (status = 422, description = "a value is wrong", body = Problem),
    (status = 429, description = "asked too often, of one patient or at all", body = Problem),
    (status = 503, description = "a part is down", body = Problem),
))]
pub(crate) async fn read(
    State(centre): State<Centre>,
    State(gate): State<Arc<Gate>>,
    By(caller): By,
    Json(request): Json<RecordRequest>,
) -> Answer<axum::Json<Record>> {
    let names = centre.member_names();
    let ask = request.checked(&names)?;
    gate.askers.count(&caller, &ask)?;
    let answer = centre.read_record(&caller, ask).await?;
    let parts = answer.parts.into_iter().map(|part| RecordPart {
        centre: names.code(part.centre),
        status: if part.sealed.is_some() { PartStatus::Answered } else { PartStatus::Missing },
        sealed: part.sealed.map(|sealed| border::base64(&sealed)),
    });
    let (request, receipt) = (answer.request.to_string(), answer.receipt.to_string());
    Ok(axum::Json(Record { request, receipt, parts: parts.collect() }))
}

impl RecordRequest {
    fn checked(self, names: &Names) -> Answer<Ask> {
        let handle = self.patient.map(|handle| handle.parse());
        let handle = handle.transpose().map_err(|error| Problem::malformed("patient", error))?;
        let wish = |(code, tags): (String, Vec<Name>)| {
            Ok(Wish { centre: border::centre(names, &code, "wishes")?, tags })
        };
        Ok(Ask {
            whose: handle.map_or(Whose::Own, Whose::Handle),
            purpose: self.purpose.into(),
            reason: self.reason,
            wishes: self.wishes.into_iter().map(wish).collect::<Answer<_>>()?,
            recipient: border::bytes(&self.recipient, "recipient")?,
        })
    }
}
