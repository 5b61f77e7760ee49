//! Serving a router: bounded connections, time limits for silent ones, an end in order.

use crate::limits::{Holder, Limits, Share, Shares};
use crate::{Member, TlsListener};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::serve::{Listener, ListenerExt};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// Connections at once; further callers wait in the system's queue.
const CONNECTIONS_MAX: usize = 2_048;
/// Connections of one member at once. It keeps one, but opens one for every call of its first burst,
/// until it knows that one carries them all.
const MEMBER_CONNECTIONS_MAX: usize = 128;
/// How long the head of a request may take, and a connection between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// The same for other centres: longer than they keep an idle connection, so that a call never
/// meets one that is just being closed.
const PEER_HEAD_WITHIN: Duration = Duration::from_mins(2);
/// How often an HTTP/2 connection is asked whether it is still there, and how long it may think.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// How long requests may take to end once the server is to stop.
const END_WITHIN: Duration = Duration::from_secs(10);

/// Serves [`api`](crate::api) over HTTP/1.1 until `stop`. Put what encrypts in front of it and name
/// it in `limits`, or listen at a loopback address.
pub async fn serve_api(
    socket: TcpListener,
    router: Router,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) {
    let listener = socket.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "A connection keeps its delay");
        }
    });
    let shares = Arc::<Shares>::default();
    let share = move |address: &SocketAddr| {
        let address = address.ip();
        shares.take(Holder::at(address), limits.connections_of(address))
    };
    serve(listener, builder(HEAD_WITHIN).http1_only(), router, share, stop).await;
}

/// Serves [`peer`](crate::peer()) over mutual TLS, HTTP/2 or 1.1, until `stop`.
pub async fn serve_peers(
    listener: TlsListener,
    router: Router,
    stop: impl Future<Output = ()> + Send,
) {
    let shares = Arc::<Shares>::default();
    let share =
        move |from: &Member| shares.take(Holder::Member(from.centre), MEMBER_CONNECTIONS_MAX);
    serve(listener, builder(PEER_HEAD_WITHIN), router, share, stop).await;
}

fn builder(head_within: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(head_within);
    let mut http2 = builder.http2();
    http2.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
    http2.keep_alive_interval(KEEP_ALIVE).keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// Serves until `stop`, then lets what has begun end. Dropped, it cuts every connection. A caller
/// without a `share` left is hung up on.
async fn serve<L: Listener<Addr = A>, A: Clone + Send + Sync + 'static>(
    mut listener: L,
    builder: Builder<TokioExecutor>,
    router: Router,
    share: impl Fn(&A) -> Option<Share> + Send,
    stop: impl Future<Output = ()> + Send,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (ends, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let ((io, address), place) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        let Some(share) = share(&address) else {
            tracing::debug!("Hung up on a caller that has too many connections");
            continue;
        };
        let router = router.clone().map_request(move |request: Request<_>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(address.clone()));
            request
        });
        let service = TowerToHyperService::new(router);
        let connection =
            ends.watch(builder.serve_connection(TokioIo::new(io), service).into_owned());
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "A connection broke");
            }
            drop((place, share));
        });
    }
    drop(listener);
    drop(tokio::time::timeout(END_WITHIN, ends.shutdown()).await);
}
