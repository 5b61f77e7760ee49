//! What a client may use of this node: connections, requests per second, bytes, time, a place among
//! the requests that are worked on.
//!
//! Invariants: a request takes its place only when all of it has arrived, so whoever sends slowly
//! holds up nobody; no client holds more than its share, so none takes everybody's places.

use crate::askers::{Askers, Rate};
use crate::metrics::{self, Metrics};
use crate::problem::{self, Problem};
use crate::tls_listener::Member;
use aegle_model::CentreId;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// How much the API lets its clients do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Proxies in front of the API. Of what comes from them, `X-Forwarded-For` names the client;
    /// from anybody else the header counts for nothing.
    pub trusted_proxies: Vec<IpAddr>,
    /// Connections of one address at once; a trusted proxy may have more.
    pub connections: usize,
    /// Requests per second of one address.
    pub per_second: NonZeroU32,
    /// Requests that one address may send at once before that counts.
    pub burst: NonZeroU32,
    /// Requests of one client at once, those included whose bodies still arrive.
    pub share: usize,
    /// Requests that are worked on at once; more are turned away.
    pub in_flight: usize,
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub arrive_within: Duration,
    /// How long a client waits for an answer.
    pub answer_within: Duration,
    /// How often one person may ask for the record of one patient. Emergencies have as much again.
    pub record: Rate,
    /// How often one person may ask for records, whosever they are. Emergencies have as much again.
    pub records: Rate,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            connections: 512,
            per_second: const { NonZeroU32::new(200).expect("200 is not 0") },
            burst: const { NonZeroU32::new(1_000).expect("1000 is not 0") },
            share: 256,
            in_flight: 512,
            body_bytes: 256 * 1024,
            arrive_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
            record: Rate { burst: SIXTY, every: Duration::from_secs(10) },
            records: Rate { burst: FIVE_HUNDRED, every: Duration::from_secs(1) },
        }
    }
}

const SIXTY: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");
const FIVE_HUNDRED: NonZeroU32 = NonZeroU32::new(500).expect("500 is not 0");

impl Limits {
    /// How many connections an address may have; the bound on all of them holds for a proxy, too.
    pub(crate) fn connections_of(&self, address: IpAddr) -> usize {
        if self.trusts(address) { usize::MAX } else { self.connections }
    }

    /// Whose request it is that came over a connection from `address`.
    fn client(&self, address: IpAddr, headers: &HeaderMap) -> IpAddr {
        if self.trusts(address) { self.forwarded(headers).unwrap_or(address) } else { address }
    }

    /// The last address that no trusted proxy has. It is looked for from the end, for the client may
    /// have written what stands before it.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        for entry in lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')) {
            let address = std::str::from_utf8(entry).ok()?.trim().parse().ok()?;
            if !self.trusts(address) {
                return Some(address);
            }
        }
        None
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies.iter().any(|proxy| proxy.to_canonical() == address.to_canonical())
    }
}

/// The address that a request of the API comes from, seen through trusted proxies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) IpAddr);

/// Who can hold a share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A household or machine.
    Network(IpAddr),
    /// Another centre.
    Member(CentreId),
}

impl Holder {
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Network(network(address))
    }
}

/// How many of one thing each holder has. Holders of nothing are forgotten.
#[derive(Default)]
pub(crate) struct Shares(Mutex<BTreeMap<Holder, usize>>);

/// One of them; given back when dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    holder: Holder,
}

impl Shares {
    /// One more for `holder`, unless it has `most` already.
    pub(crate) fn take(self: &Arc<Self>, holder: Holder, most: usize) -> Option<Share> {
        let mut held = self.held();
        let count = held.get(&holder).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        held.insert(holder, count + 1);
        Some(Share { shares: Arc::clone(self), holder })
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Holder, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held();
        if let Some(count @ 2..) = held.remove(&self.holder) {
            held.insert(self.holder, count - 1);
        }
    }
}

/// The most addresses that are remembered between two cleanings.
const ADDRESSES_MAX: usize = 50_000;

/// The limits with what is in use of them.
pub(crate) struct Gate {
    limits: Limits,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    shares: Arc<Shares>,
    places: Arc<Semaphore>,
    /// Who has asked for records of late.
    pub(crate) askers: Askers,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        let quota = Quota::per_second(limits.per_second).allow_burst(limits.burst);
        let places = Arc::new(Semaphore::new(limits.in_flight));
        let askers = Askers::new(limits.record, limits.records);
        let (addresses, shares) = (RateLimiter::keyed(quota), Arc::default());
        Self { limits, addresses, shares, places, askers }
    }

    /// How many requests are worked on.
    pub(crate) fn in_flight(&self) -> usize {
        self.limits.in_flight - self.places.available_permits()
    }

    /// Counts a request of this address.
    fn count(&self, address: IpAddr) -> Result<(), Problem> {
        if self.addresses.len() > ADDRESSES_MAX {
            self.addresses.retain_recent();
            self.addresses.shrink_to_fit();
        }
        self.addresses.check_key(&network(address)).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            Problem::too_many(
                wait.as_secs() + 1,
                "too many requests from this address; wait a little",
            )
        })
    }

    /// Works a request off when there is room for it, in the time there is.
    async fn work(
        &self,
        holder: Holder,
        request: Request,
        next: Next,
    ) -> Result<Response, Problem> {
        let share = self.shares.take(holder, self.limits.share).ok_or_else(|| {
            Problem::unavailable("api", "too many requests of yours at once; wait a little")
        })?;
        let request = whole(request, &self.limits).await?;
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_| Problem::unavailable("api", "too many requests at once; wait a little"))?;
        // In a task of its own: what a client has begun ends in order, also when the client leaves or
        // the work panics.
        let work = async move {
            let response = next.run(request).await;
            drop((place, share));
            response
        };
        let worked = tokio::spawn(work.in_current_span());
        let answer = tokio::time::timeout(self.limits.answer_within, worked).await;
        match answer {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(_)) => Err(Problem::crashed()),
            Err(_) => Err(Problem::unavailable(
                "api",
                "no answer in time; look whether it was done, then try again",
            )),
        }
    }
}

/// One household or machine: an IPv4 address, or an IPv6 network of 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & u128::MAX << 64)),
    }
}

/// Lets a request through when its address has room for it.
pub(crate) async fn count(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    gate.count(gate.limits.client(address.ip(), request.headers()))?;
    Ok(next.run(request).await)
}

/// Lets a request through when its address and the node have room for it, and says whose it is.
pub(crate) async fn admit(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let client = gate.limits.client(address.ip(), request.headers());
    gate.count(client)?;
    request.extensions_mut().insert(Client(client));
    gate.work(Holder::at(client), request, next).await
}

/// Lets a member's request through when the node has room for it.
pub(crate) async fn admit_member(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(member): ConnectInfo<Member>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    gate.work(Holder::Member(member.centre), request, next).await
}

/// The request with its whole body.
async fn whole(request: Request, limits: &Limits) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let declared = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if declared.is_some_and(|length: u64| length > limits.body_bytes as u64) {
        return Err(Problem::too_large(limits.body_bytes));
    }
    let read = tokio::time::timeout(limits.arrive_within, to_bytes(body, limits.body_bytes)).await;
    match read {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(error)) if too_long(&error) => Err(Problem::too_large(limits.body_bytes)),
        Ok(Err(_)) | Err(_) => Err(Problem::slow()),
    }
}

fn too_long(error: &axum::Error) -> bool {
    let cause = std::error::Error::source(error);
    cause.is_some_and(<dyn std::error::Error>::is::<http_body_util::LengthLimitError>)
}

/// Measures a request, gives errors their shape and every answer its headers. What is recorded
/// names the route's template, never a path, a body, a token or a person.
pub(crate) async fn observe(
    State(metrics): State<Option<Arc<Metrics>>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = metrics::name(request.method());
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!("request", method, route);
    let mut response = problem::complete(next.run(request).instrument(span.clone()).await);
    harden(&mut response);
    let (status, took) = (response.status().as_u16(), started.elapsed());
    if let Some(metrics) = metrics {
        metrics.answered(method, route, status, took);
    }
    let took_ms = took.as_secs_f64() * 1_000.0;
    span.in_scope(|| tracing::info!(status, took_ms, "Answered `{method} {route}` with {status}"));
    response
}

/// Nothing is cached, guessed, framed or run.
fn harden(response: &mut Response) {
    let headers = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use axum::{Router, middleware};
    use futures::stream;
    use tokio::sync::mpsc;
    use tower::ServiceExt as _;

    #[test]
    fn an_address_cannot_be_changed_within_its_network() {
        let same = |a: &str, b: &str| network(a.parse().unwrap()) == network(b.parse().unwrap());
        assert!(same("2001:db8:1:2::3", "2001:db8:1:2:ffff::4"));
        assert!(!same("2001:db8:1:2::3", "2001:db8:1:3::3"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let trusted_proxies = ["10.0.0.1", "10.0.0.2", "2001:db8::1"];
        let trusted_proxies = trusted_proxies.map(|proxy| proxy.parse().unwrap()).to_vec();
        let limits = Limits { trusted_proxies, ..Limits::default() };
        let check = |connected: &str, lines: &[&[u8]], client: &str| {
            let lines = lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
            let name = header::HeaderName::from_static("x-forwarded-for");
            let headers: HeaderMap = lines.map(|line| (name.clone(), line)).collect();
            let found = limits.client(connected.parse().unwrap(), &headers);
            assert_eq!(found, client.parse::<IpAddr>().unwrap(), "{connected} {headers:?}");
        };
        check("10.0.0.1", &[b"192.0.2.7"], "192.0.2.7");
        check("::ffff:10.0.0.1", &[b"2001:db8::7"], "2001:db8::7");
        check("2001:db8::1", &[b"192.0.2.7,10.0.0.1 , 10.0.0.2"], "192.0.2.7");
        check("10.0.0.1", &[b"192.0.2.7", b"192.0.2.8, 10.0.0.2"], "192.0.2.8");
        // The client wrote the front, whatever it is.
        check("10.0.0.1", &[b"192.0.2.66, 192.0.2.7"], "192.0.2.7");
        check("10.0.0.1", &[b"\xff nonsense,, 192.0.2.7"], "192.0.2.7");
        for malformed in ["", "nobody", "192.0.2.7, ", "192.0.2.7:80", "192.0.2.7, x, 10.0.0.2"] {
            check("10.0.0.1", &[malformed.as_bytes()], "10.0.0.1");
        }
        check("10.0.0.1", &[], "10.0.0.1");
        check("10.0.0.1", &[b"10.0.0.2"], "10.0.0.1");
        // Whoever is no proxy may write what it likes.
        check("192.0.2.66", &[b"192.0.2.7"], "192.0.2.66");
        check("10.0.0.3", &[b"192.0.2.7"], "10.0.0.3");
    }

    #[test]
    fn a_share_that_is_given_back_can_be_taken_again() {
        let shares = Arc::<Shares>::default();
        let take = |number: u8| shares.take(Holder::at(IpAddr::from([192, 0, 2, number])), 2);
        let (first, second) = (take(1), take(1));
        assert!(first.is_some() && second.is_some() && take(1).is_none() && take(2).is_some());
        drop(first);
        let again = take(1);
        assert!(again.is_some() && take(1).is_none());
        drop((second, again));
        assert!(shares.held().is_empty(), "nothing is kept of whoever left");
    }

    fn limited(router: Router, limits: Limits) -> Router {
        router
            .layer(middleware::from_fn_with_state(Arc::new(Gate::new(limits)), admit))
            .layer(middleware::from_fn_with_state(None, observe))
    }

    async fn call(router: Router, method: &str, body: Body) -> (StatusCode, String) {
        call_from([192, 0, 2, 1], router, method, body).await
    }

    async fn call_from(
        address: [u8; 4],
        router: Router,
        method: &str,
        body: Body,
    ) -> (StatusCode, String) {
        let from = ConnectInfo(SocketAddr::from((address, 4000)));
        let request = Request::builder().method(method).uri("/").extension(from);
        let request = request.body(body).unwrap();
        let response = router.oneshot(request).await.unwrap();
        let status = response.status();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_panic_is_a_problem_that_tells_nothing() {
        async fn broken() {
            panic!("the number of the patient is 4711");
        }
        let router = limited(Router::new().route("/", get(broken)), Limits::default());
        let (status, text) = call(router, "GET", Body::empty()).await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(text.contains("urn:aegle:problem:failed") && !text.contains("4711"), "{text}");
    }

    #[tokio::test]
    async fn neither_side_waits_for_ever() {
        let router = Router::new()
            .route("/", post(|| async { "done" }).get(std::future::pending::<&'static str>));
        let soon = Duration::from_millis(50);
        let limits = Limits { arrive_within: soon, answer_within: soon, ..Limits::default() };
        let router = limited(router, limits);
        let silent = Body::from_stream(stream::pending::<Result<axum::body::Bytes, axum::Error>>());
        assert_eq!(call(router.clone(), "POST", silent).await.0, StatusCode::REQUEST_TIMEOUT);
        let (status, text) = call(router, "GET", Body::empty()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("look whether it was done"), "{text}");
    }

    /// A body that never arrives, and what tells that it is waited for.
    fn silence() -> (Body, tokio::sync::oneshot::Receiver<()>) {
        let (sender, awaited) = tokio::sync::oneshot::channel();
        let silent = async move {
            sender.send(()).unwrap();
            std::future::pending::<Result<axum::body::Bytes, axum::Error>>().await
        };
        (Body::from_stream(stream::once(silent)), awaited)
    }

    #[tokio::test]
    async fn whoever_sends_slowly_holds_up_nobody_else() {
        let router = Router::new().route("/", post(|| async { "done" }));
        let router = limited(router, Limits { share: 1, in_flight: 1, ..Limits::default() });
        let (body, awaited) = silence();
        let slow = tokio::spawn(call(router.clone(), "POST", body));
        awaited.await.unwrap();
        let (status, text) = call(router.clone(), "POST", Body::empty()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("too many requests of yours"), "{text}");
        let other = call_from([192, 0, 2, 2], router.clone(), "POST", Body::empty()).await;
        assert_eq!(other, (StatusCode::OK, "done".to_owned()));
        slow.abort();
        assert!(slow.await.unwrap_err().is_cancelled());
        assert_eq!(call(router, "POST", Body::empty()).await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn what_has_begun_ends_without_its_client_and_keeps_its_place_until_then() {
        let (begun, mut has_begun) = mpsc::channel::<()>(1);
        let (go_on, may_go_on) = mpsc::channel::<()>(1);
        let (ended, mut has_ended) = mpsc::channel::<()>(1);
        let may_go_on = Arc::new(tokio::sync::Mutex::new(may_go_on));
        let handler = move || async move {
            begun.send(()).await.unwrap();
            may_go_on.lock().await.recv().await.unwrap();
            ended.send(()).await.unwrap();
        };
        let router = Router::new().route("/", get(handler));
        let router = limited(router, Limits { in_flight: 1, ..Limits::default() });
        let client = tokio::spawn(call(router.clone(), "GET", Body::empty()));
        has_begun.recv().await.unwrap();
        client.abort();
        let (status, text) = call(router, "GET", Body::empty()).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(text.contains("too many requests at once"), "{text}");
        go_on.send(()).await.unwrap();
        has_ended.recv().await.unwrap();
    }
}
