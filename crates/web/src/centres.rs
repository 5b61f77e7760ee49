//! The centres of the network with their public catalogues.

use crate::problem::{Answer, Problem};
use crate::signed::Signed;
use aegle_centre::Centre;
use aegle_model::{CentreId, Name, Vocabulary};
use axum::extract::{Query, State};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;
use utoipa::{IntoParams, ToSchema};

/// How long a centre may take to say that it is there.
const PING_WITHIN: Duration = Duration::from_secs(1);

/// What to say of the centres.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CentresQuery {
    /// Whether to call every centre and say if it answers.
    #[serde(default)]
    reachable: bool,
}

/// A centre of the network.
#[derive(Serialize, ToSchema)]
pub(crate) struct Member {
    /// The centre's id.
    id: String,
    /// The code by which it is named everywhere else.
    code: String,
    /// Whether it answers this centre now; only when asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    reachable: Option<bool>,
    /// What its data is tagged with; null until it has published.
    catalogue: Option<Catalogue>,
}

/// The public part of a centre's catalogue.
#[derive(Serialize, ToSchema)]
pub(crate) struct Catalogue {
    /// Counts up with every published change.
    version: u32,
    /// The tags that rules and requests can name.
    tags: Vec<Tag>,
    /// The tags of every cell: of the columns that are opened and closed together.
    #[schema(value_type = Vec<Vec<String>>)]
    cells: Vec<Vec<Name>>,
}

/// A tag.
#[derive(Serialize, ToSchema)]
pub(crate) struct Tag {
    /// Its name in rules and requests.
    #[schema(value_type = String)]
    name: Name,
    /// What people read, by language (BCP 47).
    labels: BTreeMap<String, String>,
}

/// All centres with their catalogues.
#[utoipa::path(get, path = "/centres", tag = "centres", security(("token" = [])), params(CentresQuery), responses(
    (status = 200, description = "the centres", body = Vec<Member>),
    (status = 401, description = "not signed in", body = Problem),
))]
pub(crate) async fn list(
    State(centre): State<Centre>,
    _: Signed,
    Query(query): Query<CentresQuery>,
) -> Answer<axum::Json<Vec<Member>>> {
    let vocabularies = centre.vocabularies().await?;
    let known = centre.parts().ledger.members();
    let pings = known.centres.iter().map(|member| async {
        if query.reachable { Some(answers(&centre, member.id).await) } else { None }
    });
    let reachable = join_all(pings).await;
    let members = known.centres.iter().zip(reachable).map(|(member, reachable)| Member {
        id: member.id.to_string(),
        code: member.code.to_string(),
        reachable,
        catalogue: vocabularies.get(&member.id).map(|it| Catalogue::from(&**it)),
    });
    Ok(axum::Json(members.collect()))
}

async fn answers(centre: &Centre, member: CentreId) -> bool {
    let peers = &centre.parts().peers;
    member == centre.id() || peers.call(member, "/ping", Vec::new(), PING_WITHIN).await.is_ok()
}

impl From<&Vocabulary> for Catalogue {
    fn from(vocabulary: &Vocabulary) -> Self {
        let tag =
            |tag: &aegle_model::Tag| Tag { name: tag.name.clone(), labels: tag.labels.clone() };
        let tags = vocabulary.tags.iter().map(tag);
        let cells = vocabulary.cells.iter().map(|cell| cell.tags.keys().cloned().collect());
        Self { version: vocabulary.version, tags: tags.collect(), cells: cells.collect() }
    }
}
