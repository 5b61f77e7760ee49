//! Cables that can be cut and slowed down where there are no real ones, or none that can be slow: a TCP
//! proxy between each pair of nodes.

use rand::Rng as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a lost packet costs a TCP connection: the time until it is sent again.
const SENT_AGAIN: Duration = Duration::from_millis(250);
/// The packets that a byte count stands for.
const PACKET_BYTES: usize = 1400;

/// How good a cable is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Quality {
    /// As good as no cable.
    Good,
    /// Nothing gets through, and nobody is told.
    Cut,
    /// A delay each way, and how many packets of a thousand are lost.
    Slow { delay: Duration, lost: u32 },
}

/// One cable; whoever connects to it is connected to its other end.
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    quality: Arc<watch::Sender<Quality>>,
}

impl Wire {
    /// A cable to `target`, between tasks of the runtime that calls this.
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let quality = Arc::new(watch::Sender::new(Quality::Good));
        let shared = quality.clone();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry(near, target, shared.subscribe()));
            }
        });
        Self { address, quality }
    }

    pub(crate) fn set(&self, quality: Quality) {
        self.quality.send_replace(quality);
    }
}

async fn carry(near: TcpStream, target: SocketAddr, mut quality: watch::Receiver<Quality>) {
    whole(&mut quality).await;
    let Ok(far) = TcpStream::connect(target).await else { return };
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    // Either end hangs up for both.
    tokio::select! {
        () = pass(from_near, to_far, quality.clone()) => {}
        () = pass(from_far, to_near, quality) => {}
    }
}

/// Waits until the cable is not cut.
async fn whole(quality: &mut watch::Receiver<Quality>) -> Quality {
    let whole = quality.wait_for(|quality| *quality != Quality::Cut).await;
    whole.map_or(Quality::Good, |quality| *quality)
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, quality: watch::Receiver<Quality>) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(256);
    let mut reading = quality.clone();
    let read = async move {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let due = tokio::time::Instant::now() + lag(whole(&mut reading).await, count);
            if sender.send((due, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let mut writing = quality;
    let write = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            whole(&mut writing).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(read, write);
}

/// How late so many bytes arrive.
fn lag(quality: Quality, bytes: usize) -> Duration {
    let Quality::Slow { delay, lost } = quality else { return Duration::ZERO };
    let mut random = rand::rng();
    let lost =
        (0..bytes.div_ceil(PACKET_BYTES)).filter(|_| random.random_ratio(lost, 1000)).count();
    delay + SENT_AGAIN * u32::try_from(lost).unwrap()
}
