//! What a node counts beside its engine: requests and how long they took, by route template, and how
//! the ledger is doing. Never an id of a person.

use aegle_centre::Attendance;
use axum::http::Method;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// The media type of the text format.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How both formats end.
const END: &str = "# EOF\n";

/// Counters of one router.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram>,
    in_flight: Gauge,
    waiting: Gauge,
    votes: Gauge,
    members: Members,
}

/// What each member did for the last blocks, by its code.
#[derive(Default)]
struct Members {
    signed: Family<Member, Gauge>,
    missed: Family<Member, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Member {
    centre: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("aegle");
        let requests = Family::<Request, Counter>::default();
        // 1 ms to 16 s.
        let durations = Family::<Route, Histogram>::new_with_constructor(|| {
            Histogram::new(exponential_buckets(0.001, 2.0, 15))
        });
        let in_flight = Gauge::default();
        let api = registry.sub_registry_with_prefix("api");
        api.register("requests", "Requests answered", requests.clone());
        let help = "How long requests took";
        api.register_with_unit("request_duration", help, Unit::Seconds, durations.clone());
        api.register("in_flight", "Requests being worked on", in_flight.clone());
        let ledger = registry.sub_registry_with_prefix("ledger");
        let (waiting, votes, members) = (Gauge::default(), Gauge::default(), Members::default());
        ledger.register("waiting", "Transactions that wait for a block", waiting.clone());
        ledger.register("votes", "1 when this node votes, 0 when it only follows", votes.clone());
        let help = "Of how many of the last 64 blocks the certificate holds the member's vote";
        ledger.register("member_signed", help, members.signed.clone());
        let help = "How often the member did not propose in its turn, before the last 64 blocks";
        ledger.register("member_missed", help, members.missed.clone());
        Self { registry, requests, durations, in_flight, waiting, votes, members }
    }

    /// How the ledger is doing now.
    pub(crate) fn ledger(&self, waiting: usize, votes: bool, members: Vec<Attendance>) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.votes.set(votes.into());
        for Attendance { centre, signed, missed } in members {
            let member = Member { centre: centre.to_string() };
            self.members.signed.get_or_create(&member).set(signed.into());
            self.members.missed.get_or_create(&member).set(missed.into());
        }
    }

    /// A request was answered.
    pub(crate) fn answered(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let route = route.to_owned();
        self.durations
            .get_or_create(&Route { method, route: route.clone() })
            .observe(took.as_secs_f64());
        self.requests.get_or_create(&Request { method, route, status }).inc();
    }

    /// These counters after those of `engine`, as one text.
    pub(crate) fn text(&self, engine: &str, in_flight: usize) -> String {
        self.in_flight.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        let mut text = engine.strip_suffix(END).unwrap_or(engine).to_owned();
        text::encode(&mut text, &self.registry).expect("writing to memory cannot fail");
        text
    }
}

/// The method's name; one name for all that HTTP does not define, so that labels stay few.
pub(crate) fn name(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    known.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sources_make_one_text() {
        let metrics = Metrics::new();
        metrics.answered("GET", "/api/v1/rules/{id}", 404, Duration::from_millis(3));
        let centre = aegle_model::Name::new("ZMC").unwrap();
        metrics.ledger(5, true, vec![Attendance { centre, signed: 60, missed: 3 }]);
        let text = metrics.text("# TYPE height gauge\nheight 7\n# EOF\n", 2);
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.starts_with("# TYPE height gauge\nheight 7\n"));
        assert!(text.ends_with(END));
        let line = "aegle_api_requests_total{method=\"GET\",route=\"/api/v1/rules/{id}\",status=\"404\"} 1\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("aegle_api_request_duration_seconds_bucket"), "{text}");
        assert!(text.contains("aegle_ledger_waiting 5\n"), "{text}");
        assert!(text.contains("aegle_ledger_member_missed{centre=\"ZMC\"} 3\n"), "{text}");
    }

    #[test]
    fn a_made_up_method_makes_no_label_of_its_own() {
        assert_eq!(name(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(name(&Method::DELETE), "DELETE");
    }
}
