//! The doors of a node: the API for people ([`api`]) and the calls between nodes ([`peer`](peer())).
//!
//! A handler parses, calls one use case of `centre`, and renders. Invariants: every error is a
//! problem (RFC 9457) that tells nothing about what is hidden; bodies, time and requests are
//! bounded; a request that has begun ends in order, whatever its client does; nothing recorded
//! names a person, a path's id or a token. Absent on purpose: rules of access, use cases, HTML for
//! patients and professionals.

mod askers;
mod border;
mod centres;
mod emergencies;
mod governance;
mod history;
mod json;
mod limits;
mod links;
mod log;
mod metrics;
mod openapi;
mod patients;
mod peer;
mod problem;
mod records;
mod rule;
mod rules;
mod seen;
mod serve;
mod session;
mod signed;
mod staff;
mod status;
mod tls_listener;

pub use askers::Rate;
pub use limits::Limits;
pub use peer::peer;
pub use serve::{serve_api, serve_peers};
pub use tls_listener::{Member, TlsListener, TlsListenerError};

use aegle_centre::Centre;
use axum::extract::FromRef;
use axum::routing::get;
use axum::{Router, middleware};
use limits::Gate;
use metrics::Metrics;
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What handlers can ask for.
#[derive(Clone)]
struct App {
    centre: Centre,
    metrics: Arc<Metrics>,
    gate: Arc<Gate>,
}

impl FromRef<App> for Arc<Gate> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.gate)
    }
}

impl FromRef<App> for Centre {
    fn from_ref(app: &App) -> Self {
        app.centre.clone()
    }
}

/// The API of a centre. [`serve_api`] serves it; whatever else does brings
/// `ConnectInfo<SocketAddr>`, for the limits are per address.
pub fn api(centre: Centre, limits: Limits) -> Router {
    let (metrics, gate) = (Arc::new(Metrics::new()), Arc::new(Gate::new(limits)));
    let (limited, counted, document) = routers();
    let limited = limited
        .merge(openapi::routes(&document))
        .fallback(|| async { axum::http::StatusCode::NOT_FOUND })
        .layer(middleware::from_fn_with_state(centre.clone(), seen::seen))
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), limits::admit));
    // A node that is full can still be watched, and is not dead.
    let counted = counted.layer(middleware::from_fn_with_state(Arc::clone(&gate), limits::count));
    let router = counted.route("/livez", get(status::livez)).merge(limited);
    let observe = middleware::from_fn_with_state(Some(Arc::clone(&metrics)), limits::observe);
    router.layer(observe).with_state(App { centre, metrics, gate })
}

/// The routes with all limits, those with the limit per address only, and what describes both.
fn routers() -> (Router<App>, Router<App>, utoipa::openapi::OpenApi) {
    let v1 = OpenApiRouter::new()
        .routes(routes!(session::sign_in, session::sign_out))
        .routes(routes!(session::me))
        .routes(routes!(centres::list))
        .routes(routes!(patients::enrol))
        .routes(routes!(links::list, links::offer))
        .routes(routes!(links::offers))
        .routes(routes!(links::accept))
        .routes(routes!(staff::list, staff::add))
        .routes(routes!(staff::departments, staff::set_department))
        .routes(routes!(rules::list, rules::grant))
        .routes(routes!(rules::revoke))
        .routes(routes!(rules::preview))
        .routes(routes!(history::list))
        .routes(routes!(history::restore))
        .routes(routes!(history::preview))
        .routes(routes!(records::read))
        .routes(routes!(log::read))
        .routes(routes!(emergencies::list))
        .routes(routes!(governance::list, governance::propose))
        .routes(routes!(governance::vote))
        .routes(routes!(status::ledger))
        .routes(routes!(status::proof));
    let watched =
        OpenApiRouter::new().routes(routes!(status::readyz)).routes(routes!(status::metrics));
    let keys = OpenApiRouter::new().routes(routes!(status::jwks));
    let limited = OpenApiRouter::with_openapi(openapi::head()).nest("/api/v1", v1).merge(keys);
    let (watched, about_watched) = watched.split_for_parts();
    let (limited, mut document) = limited.split_for_parts();
    document.merge(about_watched);
    document.merge(OpenApiRouter::<App>::new().routes(routes!(status::livez)).into_openapi());
    (limited, watched, document)
}
