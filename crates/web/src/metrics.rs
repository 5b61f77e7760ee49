//! What a node counts beside its engine: requests and how long they took, by route template, and how
//! the ledger is doing. Never an id of a person.

use aegle_centre::{Attendance, Rounds};
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
    ledger: Ledger,
    members: Members,
}

/// How the ledger is doing, as this node sees it.
#[derive(Default)]
struct Ledger {
    height: Gauge,
    epoch: Gauge,
    connected: Gauge,
    waiting: Gauge,
    waiting_bytes: Gauge,
    outbox: Gauge,
    outbox_age: Gauge,
    votes: Gauge,
    missing: Gauge,
    round_changes: Gauge,
}

/// What each member did for the last blocks and how far it is, by its code.
#[derive(Default)]
struct Members {
    signed: Family<Member, Gauge>,
    missed: Family<Member, Gauge>,
    behind: Family<Member, Gauge>,
}

/// What is known now of how the ledger is doing.
pub(crate) struct Now {
    pub(crate) height: u64,
    pub(crate) epoch: u64,
    pub(crate) connected: usize,
    pub(crate) waiting: usize,
    pub(crate) waiting_bytes: usize,
    pub(crate) votes: bool,
    pub(crate) missing: u64,
    /// How many transactions wait in the outbox, and how many seconds the oldest has.
    pub(crate) outbox: (u64, u64),
    /// None when the engine does not run.
    pub(crate) rounds: Option<Rounds>,
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
        let (ledger, members) = (Ledger::default(), Members::default());
        ledger.register(registry.sub_registry_with_prefix("ledger"));
        members.register(registry.sub_registry_with_prefix("ledger_member"));
        Self { registry, requests, durations, in_flight, ledger, members }
    }

    /// How the ledger is doing now.
    pub(crate) fn ledger(&self, now: &Now) {
        self.ledger.set(now);
        self.members.set(now.rounds.as_ref().map_or(&[], |rounds| &rounds.members));
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

impl Ledger {
    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("height", "The height of the last final block here", &self.height),
            ("epoch", "The epoch that this node is in", &self.epoch),
            ("connected", "How many other validators this node is connected to", &self.connected),
            ("waiting", "Transactions that wait for a block", &self.waiting),
            ("waiting_bytes", "The bytes of those", &self.waiting_bytes),
            ("outbox", "Transactions kept here until the ledger has them", &self.outbox),
            ("votes", "1 when this node votes, 0 when it only follows", &self.votes),
            ("missing", "Blocks from the beginning that are not here yet", &self.missing),
            (
                "round_changes",
                "Rounds that ended without a block, before the last 64 blocks",
                &self.round_changes,
            ),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        let help = "How long the oldest transaction of the outbox has waited; 0 when none waits";
        registry.register_with_unit("outbox_age", help, Unit::Seconds, self.outbox_age.clone());
    }

    fn set(&self, now: &Now) {
        let set = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.height, now.height);
        set(&self.epoch, now.epoch);
        set(&self.connected, now.connected as u64);
        set(&self.waiting, now.waiting as u64);
        set(&self.waiting_bytes, now.waiting_bytes as u64);
        set(&self.outbox, now.outbox.0);
        set(&self.outbox_age, now.outbox.1);
        set(&self.votes, now.votes.into());
        set(&self.missing, now.missing);
        set(&self.round_changes, now.rounds.as_ref().map_or(0, |rounds| rounds.changes.into()));
    }
}

impl Members {
    fn register(&self, registry: &mut Registry) {
        let help = "Of how many of the last 64 blocks the certificate holds the member's vote";
        registry.register("signed", help, self.signed.clone());
        let help = "How often the member did not propose in its turn, before the last 64 blocks";
        registry.register("missed", help, self.missed.clone());
        let help = "How many blocks the member's node is behind this one; absent when it is silent";
        registry.register("behind", help, self.behind.clone());
    }

    /// Whoever is no member any more, or is silent, is not told of.
    fn set(&self, members: &[Attendance]) {
        for family in [&self.signed, &self.missed, &self.behind] {
            family.clear();
        }
        for Attendance { centre, votes, signed, missed, behind } in members {
            let member = Member { centre: centre.to_string() };
            let set =
                |family: &Family<Member, Gauge>, value| family.get_or_create(&member).set(value);
            if *votes {
                set(&self.signed, i64::from(*signed));
                set(&self.missed, i64::from(*missed));
            }
            if let Some(behind) = behind {
                set(&self.behind, i64::try_from(*behind).unwrap_or(i64::MAX));
            }
        }
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
        let text = metrics.text("# TYPE height gauge\nheight 7\n# EOF\n", 2);
        assert_eq!(text.matches("# EOF").count(), 1);
        assert!(text.starts_with("# TYPE height gauge\nheight 7\n"));
        assert!(text.ends_with(END));
        let line = "aegle_api_requests_total{method=\"GET\",route=\"/api/v1/rules/{id}\",status=\"404\"} 1\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("aegle_api_request_duration_seconds_bucket"), "{text}");
    }

    fn now(members: Vec<Attendance>) -> Now {
        let rounds = Some(Rounds { blocks: 64, changes: 7, members });
        let (height, epoch, connected, waiting, waiting_bytes) = (812, 2, 3, 5, 900);
        let (votes, missing, outbox) = (true, 30, (4, 61));
        Now { height, epoch, connected, waiting, waiting_bytes, votes, missing, outbox, rounds }
    }

    #[test]
    fn whoever_watches_sees_how_the_ledger_is_doing() {
        let metrics = Metrics::new();
        let name = |code| aegle_model::Name::new(code).unwrap();
        let zmc =
            Attendance { centre: name("ZMC"), votes: true, signed: 60, missed: 3, behind: Some(9) };
        let away =
            Attendance { centre: name("KHM"), votes: true, signed: 0, missed: 4, behind: None };
        let new =
            Attendance { centre: name("NEW"), votes: false, signed: 0, missed: 0, behind: Some(0) };
        metrics.ledger(&now(vec![zmc, away, new]));
        let text = metrics.text("", 0);
        let has = |line: &str| text.lines().any(|other| other == line);
        for line in [
            "aegle_ledger_height 812",
            "aegle_ledger_epoch 2",
            "aegle_ledger_connected 3",
            "aegle_ledger_waiting 5",
            "aegle_ledger_waiting_bytes 900",
            "aegle_ledger_outbox 4",
            "aegle_ledger_outbox_age_seconds 61",
            "aegle_ledger_votes 1",
            "aegle_ledger_missing 30",
            "aegle_ledger_round_changes 7",
            "aegle_ledger_member_signed{centre=\"ZMC\"} 60",
            "aegle_ledger_member_missed{centre=\"ZMC\"} 3",
            "aegle_ledger_member_behind{centre=\"ZMC\"} 9",
            "aegle_ledger_member_signed{centre=\"KHM\"} 0",
            "aegle_ledger_member_behind{centre=\"NEW\"} 0",
        ] {
            assert!(has(line), "{line}\n{text}");
        }
        assert!(!text.contains("member_behind{centre=\"KHM\"}"), "it is silent\n{text}");
        assert!(!text.contains("member_signed{centre=\"NEW\"}"), "it has no vote\n{text}");
        metrics.ledger(&now(Vec::new()));
        assert!(!metrics.text("", 0).contains("KHM"), "it left");
    }

    #[test]
    fn a_made_up_method_makes_no_label_of_its_own() {
        assert_eq!(name(&Method::from_bytes(b"BREW").unwrap()), "other");
        assert_eq!(name(&Method::DELETE), "DELETE");
    }
}
