//! What a client may use of this node: requests per second, bytes, time, a place among the requests
//! that are worked on.

use crate::metrics::{self, Metrics};
use crate::problem::{self, Problem};
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tracing::Instrument;

/// How much the API lets its clients do.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests per second of one address.
    pub per_second: NonZeroU32,
    /// Requests that one address may send at once before that counts.
    pub burst: NonZeroU32,
    /// Requests that are worked on at once; more are turned away.
    pub in_flight: usize,
    /// The largest body, in bytes.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub arrive_within: Duration,
    /// How long a client waits for an answer.
    pub answer_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_second: const { NonZeroU32::new(200).expect("200 is not 0") },
            burst: const { NonZeroU32::new(1_000).expect("1000 is not 0") },
            in_flight: 512,
            body_bytes: 256 * 1024,
            arrive_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(30),
        }
    }
}

/// The most addresses that are remembered between two cleanings.
const ADDRESSES_MAX: usize = 50_000;

/// The limits with what is in use of them.
pub(crate) struct Gate {
    limits: Limits,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    places: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Self {
        let quota = Quota::per_second(limits.per_second).allow_burst(limits.burst);
        let places = Arc::new(Semaphore::new(limits.in_flight));
        Self { addresses: RateLimiter::keyed(quota), limits, places }
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
    gate.count(address.ip())?;
    Ok(next.run(request).await)
}

/// Lets a request through when its address and the node have room for it.
pub(crate) async fn admit(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    gate.count(address.ip())?;
    work(State(gate), request, next).await
}

/// Works a request off when there is room for it, in the time there is.
pub(crate) async fn work(
    State(gate): State<Arc<Gate>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Ok(place) = Arc::clone(&gate.places).try_acquire_owned() else {
        return Err(Problem::unavailable("api", "too many requests at once; wait a little"));
    };
    let request = whole(request, &gate.limits).await?;
    // In a task of its own: what a client has begun ends in order, also when the client leaves or
    // the work panics.
    let work = async move {
        let response = next.run(request).await;
        drop(place);
        response
    };
    let worked = tokio::spawn(work.in_current_span());
    let answer = tokio::time::timeout(gate.limits.answer_within, worked).await;
    match answer {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => Err(Problem::crashed()),
        Err(_) => Err(Problem::unavailable(
            "api",
            "no answer in time; look whether it was done, then try again",
        )),
    }
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

    fn limited(router: Router, limits: Limits) -> Router {
        router
            .layer(middleware::from_fn_with_state(Arc::new(Gate::new(limits)), work))
            .layer(middleware::from_fn_with_state(None, observe))
    }

    async fn call(router: Router, method: &str, body: Body) -> (StatusCode, String) {
        let request = Request::builder().method(method).uri("/").body(body).unwrap();
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
