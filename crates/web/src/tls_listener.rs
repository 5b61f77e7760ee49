//! Connections of other centres: mutual TLS, pinned to the certificates that the ledger names.
//!
//! Handshakes run beside each other, bounded in number and time, so that a slow one holds up
//! nobody. A connection exists only for a member; whoever else calls is told nothing.

use aegle_centre::{Certificate, TlsError, pin};
use aegle_ledger::Centre;
use aegle_model::{CentreId, Hash};
use axum::serve::Listener;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Handshakes at once; further callers wait in the system's queue.
const HANDSHAKES_MAX: usize = 64;
/// How long a handshake may take.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(3);
/// Members that may wait for the server.
const READY_MAX: usize = 16;

/// A centre at the other end of a connection, known by its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The centre.
    pub centre: CentreId,
    /// Where it calls from.
    pub address: SocketAddr,
}

/// Accepts connections of members of the network, and of nobody else.
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<TcpStream>, Member)>,
    accepting: JoinHandle<()>,
    local: Member,
}

/// Why calls of other centres cannot be listened for.
#[derive(Debug, thiserror::Error)]
pub enum TlsListenerError {
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The certificate is nobody's.
    #[error(
        "this node's certificate is none of the network's; take the one that the genesis names"
    )]
    NotAMember,
    /// The socket cannot be used.
    #[error("could not use the socket for calls of other centres")]
    Socket(#[from] io::Error),
}

impl TlsListener {
    /// Listens for `members` with this node's certificate. Needs a tokio runtime.
    pub fn new(
        socket: TcpListener,
        certificate: &Certificate,
        members: &[Centre],
    ) -> Result<Self, TlsListenerError> {
        let pins: BTreeMap<_, _> = members.iter().map(|centre| (centre.tls, centre.id)).collect();
        let own = pins.get(&certificate.pin()).ok_or(TlsListenerError::NotAMember)?;
        let local = Member { centre: *own, address: socket.local_addr()? };
        let handshake = Handshake {
            acceptor: TlsAcceptor::from(Arc::new(certificate.server(members)?)),
            members: Arc::new(pins),
        };
        let (sender, ready) = mpsc::channel(READY_MAX);
        Ok(Self { ready, accepting: tokio::spawn(accept(socket, handshake, sender)), local })
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = Member;

    async fn accept(&mut self) -> (Self::Io, Member) {
        match self.ready.recv().await {
            Some(connection) => connection,
            // The accepting task ends with its runtime only.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Member> {
        Ok(self.local)
    }
}

async fn accept(
    mut socket: TcpListener,
    handshake: Handshake,
    ready: mpsc::Sender<(TlsStream<TcpStream>, Member)>,
) {
    let places = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let (stream, address) = Listener::accept(&mut socket).await;
        let (handshake, ready) = (handshake.clone(), ready.clone());
        tokio::spawn(async move {
            let made =
                tokio::time::timeout(HANDSHAKE_WITHIN, handshake.make(stream, address)).await;
            match made {
                Ok(Ok(connection)) => drop(ready.send(connection).await),
                Ok(Err(error)) => tracing::warn!(%error, "Refused a caller that is not a member"),
                Err(_) => tracing::warn!("Refused a caller whose handshake took too long"),
            }
            drop(place);
        });
    }
}

#[derive(Clone)]
struct Handshake {
    acceptor: TlsAcceptor,
    members: Arc<BTreeMap<Hash, CentreId>>,
}

impl Handshake {
    async fn make(
        self,
        stream: TcpStream,
        address: SocketAddr,
    ) -> io::Result<(TlsStream<TcpStream>, Member)> {
        stream.set_nodelay(true)?;
        let stream = self.acceptor.accept(stream).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let centre = shown.and_then(|certificate| self.members.get(&pin(certificate)));
        let centre = *centre.ok_or(io::ErrorKind::PermissionDenied)?;
        Ok((stream, Member { centre, address }))
    }
}
