//! What the client and a node under measurement say to each other: numbered frames over TCP.

use aegle_ledger::{Receipt, Transaction, TxId};
use anyhow::{Context, Result, anyhow};
use borsh::{BorshDeserialize, BorshSerialize};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Asked of a node.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub(super) enum Question {
    /// Submit, and answer when it is final.
    Submit(Box<Transaction>),
    /// Prove.
    Receipt(TxId),
    /// How high is the chain?
    Height,
}

/// A node's answer.
#[derive(Debug, BorshSerialize, BorshDeserialize)]
pub(super) enum Reply {
    /// It is final.
    Final,
    /// The proof.
    Receipt(Box<Receipt>),
    /// The last final height.
    Height(u64),
    /// Why not.
    Refused(String),
}

/// Frames on a stream.
pub(super) fn framed(stream: TcpStream) -> Framed<TcpStream, LengthDelimitedCodec> {
    stream.set_nodelay(true).ok();
    Framed::new(stream, LengthDelimitedCodec::new())
}

/// A number and a message in one frame.
pub(super) fn frame(number: u64, message: &impl BorshSerialize) -> Result<Bytes> {
    Ok(borsh::to_vec(&(number, message))?.into())
}

/// Reads what [`frame`] wrote.
pub(super) fn unframe<T: BorshDeserialize>(bytes: &[u8]) -> Result<(u64, T)> {
    Ok(borsh::from_slice(bytes)?)
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;

/// A connection to one node on which many questions are under way.
pub(super) struct Connection {
    questions: mpsc::UnboundedSender<(Question, oneshot::Sender<Reply>)>,
}

impl Connection {
    /// Connects; dropping it disconnects.
    pub(super) async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.context("could not connect to a node")?;
        let (questions, asked) = mpsc::unbounded_channel();
        tokio::spawn(carry(stream, asked));
        Ok(Self { questions })
    }

    /// Asks and waits for the answer.
    pub(super) async fn ask(&self, question: Question) -> Result<Reply> {
        let (reply, answer) = oneshot::channel();
        let gone = || anyhow!("the node is gone");
        self.questions.send((question, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }
}

/// Carries questions and answers until either side is gone.
async fn carry(
    stream: TcpStream,
    mut asked: mpsc::UnboundedReceiver<(Question, oneshot::Sender<Reply>)>,
) {
    let (mut sink, mut source) = framed(stream).split();
    let waiting = Waiting::default();
    let waiters = waiting.clone();
    let listen = async move {
        while let Some(Ok(bytes)) = source.next().await {
            let Ok((number, reply)) = unframe::<Reply>(&bytes) else { return };
            let waiter = waiters.lock().expect("nobody panics with it").remove(&number);
            // Whoever no longer waits needs no answer.
            let _ = waiter.map(|waiter| waiter.send(reply));
        }
    };
    let tell = async move {
        for number in 0.. {
            let Some((question, reply)) = asked.recv().await else { return };
            waiting.lock().expect("nobody panics with it").insert(number, reply);
            let Ok(frame) = frame(number, &question) else { return };
            if sink.send(frame).await.is_err() {
                return;
            }
        }
    };
    // With both gone, everyone who still waits hears that the node is gone.
    tokio::select! { () = listen => {}, () = tell => {} }
}
