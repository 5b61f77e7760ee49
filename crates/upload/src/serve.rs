//! Serving an area: bounded connections and heads, an end in order, and somebody who looks at whole
//! uploads and sweeps.

use crate::area::Area;
use crate::http::{App, Limits, router};
use crate::judge::judge_all;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// Connections at once; further callers wait in the system's queue.
const CONNECTIONS_MAX: usize = 512;
/// How long the head of a request may take, and a connection between two requests.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// How large a head may be, and how much of a body is read at once.
const HEAD_MAX: usize = 64 << 10;
/// How many headers a request may have.
const HEADERS_MAX: usize = 64;
/// How long chunks may take to end once the server is to stop; what has arrived is kept.
const END_WITHIN: Duration = Duration::from_secs(3);
/// How often is looked for what has expired, and for what a crash left.
const SWEEP_AGAIN: Duration = Duration::from_mins(1);
/// How long to wait when no connection can be taken, for want of files or memory.
const REST: Duration = Duration::from_secs(1);

/// Serves the area over HTTP/1.1 until `stop`. Put what encrypts in front of it, or listen at a
/// loopback address.
pub async fn serve(
    listener: TcpListener,
    area: Area,
    limits: Limits,
    stop: impl Future<Output = ()> + Send,
) {
    let app = Arc::new(App { area, limits, whole: Notify::new() });
    let looking = tokio::spawn(look_after(Arc::clone(&app)));
    accept(listener, &app, stop).await;
    looking.abort();
}

/// Looks at what is whole, and sweeps.
async fn look_after(app: Arc<App>) {
    loop {
        let at_work = Arc::clone(&app);
        let work = move || {
            at_work.area.sweep(at_work.limits.idle, Timestamp::now())?;
            judge_all(&at_work.area, Timestamp::now)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "The upload area could not be looked after"),
            Err(error) => tracing::error!(%error, "Looking after the upload area failed"),
        }
        drop(tokio::time::timeout(SWEEP_AGAIN, app.whole.notified()).await);
    }
}

async fn accept(listener: TcpListener, app: &Arc<App>, stop: impl Future<Output = ()> + Send) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (shares, router) = (Arc::new(Shares::default()), router(Arc::clone(app)));
    let (ends, mut connections) = (GracefulShutdown::new(), JoinSet::new());
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async { (Arc::clone(&places).acquire_owned().await, listener.accept().await) };
        let (place, accepted) = tokio::select! {
            next = next => next,
            Some(_) = connections.join_next() => continue,
            () = &mut stop => break,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "No connection to the upload area could be taken");
                tokio::time::sleep(REST).await;
                continue;
            }
        };
        let Some(share) = Share::take(&shares, address, app.limits.connections) else {
            tracing::debug!("Hung up on a caller that has too many connections");
            continue;
        };
        connections.spawn(converse(stream, router.clone(), ends.watcher(), (place.ok(), share)));
    }
    drop(listener);
    drop(tokio::time::timeout(END_WITHIN, ends.shutdown()).await);
}

async fn converse(
    stream: TcpStream,
    router: Router,
    watcher: Watcher,
    _held: (Option<OwnedSemaphorePermit>, Share),
) {
    let router = router.map_request(|request: Request<_>| request.map(Body::new));
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    builder.max_buf_size(HEAD_MAX).max_headers(HEADERS_MAX);
    let service = TowerToHyperService::new(router);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "A connection to the upload area broke");
    }
}

/// How many connections each address has.
#[derive(Default)]
struct Shares(Mutex<BTreeMap<IpAddr, usize>>);

/// One of them; given back when dropped.
struct Share {
    shares: Arc<Shares>,
    address: IpAddr,
}

impl Share {
    fn take(shares: &Arc<Shares>, address: SocketAddr, most: usize) -> Option<Self> {
        let address = address.ip().to_canonical();
        let mut held = shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.get(&address).copied().unwrap_or_default();
        if count >= most {
            return None;
        }
        held.insert(address, count + 1);
        Some(Self { shares: Arc::clone(shares), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count @ 2..) = held.remove(&self.address) {
            held.insert(self.address, count - 1);
        }
    }
}
