//! Emergencies that were served while the ledger could not be reached, for those who review them.

use crate::border;
use crate::log::Opened;
use crate::problem::{Answer, Problem};
use crate::signed::By;
use aegle_centre::{Centre, Emergency, Names};
use aegle_model::Handle;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// An emergency of this centre's own staff and data.
#[derive(Serialize, ToSchema)]
pub(crate) struct Reviewed {
    /// The position in the centre's journal, from 0.
    number: u64,
    /// When, by the centre's clock.
    #[schema(format = DateTime)]
    time: String,
    /// The request's id.
    request: String,
    /// The patient's handle, if the request opens.
    patient: Option<String>,
    /// The request in the clear, if it opens.
    opened: Option<Opened>,
    /// Whether the ledger, and so the patient's log, has it.
    on_ledger: bool,
}

/// What was read in emergencies while the ledger could not be reached, newest first.
#[utoipa::path(get, path = "/emergencies", tag = "records", security(("token" = [])), responses(
    (status = 200, description = "the emergencies", body = Vec<Reviewed>),
    (status = 403, description = "only administrators and auditors review", body = Problem),
    (status = 500, description = "the journal was cut or altered; the node's log says where", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    By(caller): By,
) -> Answer<axum::Json<Vec<Reviewed>>> {
    let emergencies = centre.emergencies(&caller).await?;
    let names = centre.names(&emergencies).await?;
    Ok(axum::Json(emergencies.into_iter().map(|one| reviewed(&names, one)).collect()))
}

fn reviewed(names: &Names, emergency: Emergency) -> Reviewed {
    let Emergency { number, at, request, opened, on_ledger } = emergency;
    Reviewed {
        number,
        time: border::time(at),
        request: request.to_string(),
        patient: opened.as_ref().map(|opened| Handle::from(opened.patient).to_string()),
        opened: opened.map(|opened| Opened::new(opened, names)),
        on_ledger,
    }
}
