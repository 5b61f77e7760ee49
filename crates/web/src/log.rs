//! The own access log, with the proof that nothing is missing from it.

use crate::border;
use crate::problem::{Answer, Problem};
use crate::rule::{Purpose, Rule};
use crate::signed::By;
use aegle_centre::{Centre, LogPage, LogView, Names, Seen};
use aegle_ledger::{Delivered, Missing, OpenedRequest, PartDelivery, Step};
use aegle_model::{Bits, Canonical, CentreId, Name, Requester};
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// The own log.
#[derive(Serialize, ToSchema)]
pub(crate) struct Log {
    /// Whether the proof holds against the network's genesis: nothing is missing, added, changed.
    complete: bool,
    /// The height of the ledger that the log is complete at.
    height: u64,
    /// The digest of the block header at that height.
    head: String,
    /// Oldest first.
    entries: Vec<Entry>,
    /// The entries as they stand on the ledger, with the proof: canonical bytes in base 64.
    proof: String,
}

/// One entry.
#[derive(Serialize, ToSchema)]
pub(crate) struct Entry {
    /// The position in the log, from 0.
    number: u64,
    /// The block that it stands in.
    height: u64,
    /// The block's time.
    #[schema(format = DateTime)]
    time: String,
    /// The code of the centre that brought it to the ledger.
    author: String,
    /// What happened.
    #[serde(flatten)]
    event: Event,
}

/// What happened. What does not open under the patient's record key is null.
#[derive(Serialize, ToSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    /// The patient came into the network.
    Enrolled,
    /// The author was linked.
    Linked {
        /// Whether it may speak for the patient.
        speaks: bool,
    },
    /// A rule came into force.
    Granted {
        /// Its id.
        id: String,
        /// The rule.
        rule: Option<Rule>,
    },
    /// A rule went out of force.
    Revoked {
        /// Its id.
        id: String,
    },
    /// Earlier rules came back into force.
    Restored {
        /// The height of the ledger whose rules they are.
        to: u64,
    },
    /// The record was asked for.
    Asked(Asked),
    /// What became of parts.
    Delivered {
        /// The request's id.
        request: String,
        /// The parts.
        parts: Vec<DeliveredPart>,
    },
    /// The author destroyed the keys to everything it held of the patient, and is linked no more.
    Erased {
        /// The first of the author's key epochs in which nothing can be read.
        epoch: u32,
        /// Binds the author to what it noted about the erasure, in hex.
        commitment: String,
    },
    /// Concerns no patient.
    Other,
}

/// A request for the record, with its decision.
#[derive(Serialize, ToSchema)]
struct Asked {
    /// The request's id.
    request: String,
    /// The code of the requester's centre.
    centre: String,
    /// `permit` when anything was granted, else `deny`.
    decision: &'static str,
    /// Whether the glass was broken.
    emergency: bool,
    /// When it happened, by the centre's clock, if the ledger could not be reached then and was told
    /// afterwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime)]
    late: Option<String>,
    /// Per centre: how many cells were asked for and how many granted.
    cells: Vec<CellCount>,
    /// The request in the clear.
    opened: Option<Opened>,
}

/// How much of a centre's part was granted.
#[derive(Serialize, ToSchema)]
struct CellCount {
    /// The centre's code.
    centre: String,
    /// Cells granted.
    granted: usize,
    /// Cells asked for.
    asked: usize,
}

/// A request in the clear.
#[derive(Serialize, ToSchema)]
pub(crate) struct Opened {
    /// Who asked.
    requester: Who,
    /// What for.
    purpose: Purpose,
    /// Why, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Tags by the code of the centre.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    wishes: BTreeMap<String, Vec<Name>>,
    /// When, by the clock of the requester's centre.
    #[schema(format = DateTime)]
    asked: String,
}

/// Who asked.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Who {
    /// The patient.
    Patient,
    /// A professional.
    Professional {
        /// The employing centre's code.
        centre: String,
        /// The staff number there.
        #[schema(value_type = String)]
        id: Name,
        /// The numbers of the departments there.
        #[schema(value_type = Vec<String>)]
        departments: Vec<Name>,
    },
}

/// What became of one part.
#[derive(Serialize, ToSchema)]
struct DeliveredPart {
    /// The centre's code.
    centre: String,
    /// What left, or why nothing did.
    #[serde(flatten)]
    result: DeliveredResult,
}

/// What left, or why nothing did.
#[derive(Serialize, ToSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
enum DeliveredResult {
    /// The part left.
    Delivered {
        /// SHA-256 of the sealed part, in hex.
        content: String,
        /// How many rows.
        rows: u32,
        /// How many columns.
        columns: u32,
        /// The steps through the lake's zones.
        steps: Vec<&'static str>,
    },
    /// Nothing left.
    Missing {
        /// `unreachable`, `failed`, `refused` or `interrupted`.
        why: &'static str,
    },
}

/// The own log, with its proof.
#[utoipa::path(get, path = "/log", tag = "log", security(("token" = [])), responses(
    (status = 200, description = "every entry that concerns the patient", body = Log),
    (status = 403, description = "only a patient has a log", body = Problem),
    (status = 503, description = "the ledger does not answer", body = Problem),
))]
pub(crate) async fn read(State(centre): State<Centre>, By(caller): By) -> Answer<axum::Json<Log>> {
    let LogPage { entries, proof, complete } = centre.log(&caller).await?;
    let names = &centre.names(&entries).await?;
    let header = &proof.anchor.header;
    Ok(axum::Json(Log {
        complete,
        height: header.height,
        head: header.digest().to_string(),
        entries: entries.into_iter().map(|entry| Entry::new(entry, names)).collect(),
        proof: border::base64(&proof.to_bytes()),
    }))
}

impl Entry {
    fn new(LogView { number, height, time, author, seen }: LogView, names: &Names) -> Self {
        let (time, author) = (border::time(time), names.code(author));
        Self { number, height, time, author, event: Event::new(seen, names) }
    }
}

impl Event {
    fn new(seen: Seen, names: &Names) -> Self {
        match seen {
            Seen::Enrolled => Self::Enrolled,
            Seen::Linked { speaks } => Self::Linked { speaks },
            Seen::Granted { rule, opened } => {
                let shown = opened.map(|opened| Rule::shown(&opened, names));
                Self::Granted { id: rule.to_string(), rule: shown }
            }
            Seen::Revoked { rule } => Self::Revoked { id: rule.to_string() },
            Seen::Restored { to } => Self::Restored { to },
            Seen::Asked { request, requester, emergency, late, opened, granted } => {
                Self::Asked(Asked {
                    request: request.to_string(),
                    centre: names.code(requester),
                    decision: if granted.iter().any(|(_, granted, _)| *granted > 0) {
                        "permit"
                    } else {
                        "deny"
                    },
                    emergency,
                    late: late.map(border::time),
                    cells: granted.into_iter().map(|cells| CellCount::new(cells, names)).collect(),
                    opened: opened.map(|opened| Opened::new(*opened, names)),
                })
            }
            Seen::Delivered { request, parts } => Self::Delivered {
                request: request.to_string(),
                parts: parts.into_iter().map(|part| DeliveredPart::new(part, names)).collect(),
            },
            Seen::Erased { epoch, commitment } => {
                Self::Erased { epoch, commitment: commitment.to_string() }
            }
            Seen::Other => Self::Other,
        }
    }
}

impl CellCount {
    fn new((centre, granted, asked): (CentreId, usize, usize), names: &Names) -> Self {
        Self { centre: names.code(centre), granted, asked }
    }
}

impl Opened {
    pub(crate) fn new(opened: OpenedRequest, names: &Names) -> Self {
        let requester = match opened.requester {
            Requester::Patient => Who::Patient,
            Requester::Professional { centre, id, departments } => {
                Who::Professional { centre: names.code(centre), id, departments }
            }
        };
        let wishes = opened.wishes.into_iter().map(|wish| (names.code(wish.centre), wish.tags));
        Self {
            requester,
            purpose: opened.purpose.into(),
            reason: opened.reason,
            wishes: wishes.collect(),
            asked: border::time(opened.asked),
        }
    }
}

impl DeliveredPart {
    fn new(PartDelivery { centre, result }: PartDelivery, names: &Names) -> Self {
        let result = match result {
            Ok(Delivered { content, rows, columns, steps }) => DeliveredResult::Delivered {
                content: content.to_string(),
                rows,
                columns,
                steps: named(&steps),
            },
            Err(missing) => DeliveredResult::Missing { why: why(missing) },
        };
        Self { centre: names.code(centre), result }
    }
}

fn named(steps: &Bits) -> Vec<&'static str> {
    let known = [
        (Step::Structured, "structured"),
        (Step::Curated, "curated"),
        (Step::Consumer, "consumer"),
        (Step::Delivered, "delivered"),
        (Step::Cleaned, "cleaned"),
    ];
    known
        .into_iter()
        .filter(|(step, _)| steps.contains(*step as usize))
        .map(|(_, name)| name)
        .collect()
}

fn why(missing: Missing) -> &'static str {
    match missing {
        Missing::Unreachable => "unreachable",
        Missing::Failed => "failed",
        Missing::Refused => "refused",
        Missing::Interrupted => "interrupted",
    }
}
