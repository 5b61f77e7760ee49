//! What nodes ask each other for beside the blocks of the day: the end of the chain with its proof,
//! pieces of the state database, blocks of the past.
//!
//! The engine's resolver finds a peer that answers, asks another when one is slow or has nothing, and
//! blocks one whose answer is refused. Whoever asks judges every answer; nothing is believed here.

use crate::{
    engine::{MAILBOX, Runtime},
    service::{self, Requests},
    state::{self, Database},
    timing::Timing,
};
use aegle_ledger::{Anchor, CertifiedBlock};
use aegle_model::Canonical as _;
use bytes::Bytes;
use commonware_codec::{
    Buf, Encode as _, EncodeSize, Error, MaxEncodeSize, Read, ReadExt as _, Write,
};
use commonware_cryptography::{ed25519::PublicKey, sha256};
use commonware_glue::stateful::db::Shared;
use commonware_p2p::{Blocker, Provider, Receiver, Sender};
use commonware_resolver::{
    Consumer, Delivery, Fetch, Resolver as _, TargetedResolver as _,
    p2p::{self, Producer},
};
use commonware_runtime::BufMut;
use commonware_storage::{
    mmr,
    qmdb::sync::{Request, Response, Source as _},
};
use commonware_utils::{NZDuration, Span, channel::oneshot, vec::NonEmptyVec};
use futures::{StreamExt as _, stream};
use std::{
    collections::BTreeMap,
    fmt,
    num::NonZeroU64,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::mpsc;

/// Pieces of state and stretches of blocks end when they have this many bytes.
const PIECE_BYTES: usize = 512 * 1024;
/// The most bytes that an answer has: a piece may end with one large value or block.
const ANSWER_BYTES_MAX: usize = PIECE_BYTES + crate::block::BYTES_MAX + 64 * 1024;
/// How many questions of peers are worked on at the same time, and how many wait.
const CONCURRENT: usize = 4;
const QUEUED: usize = 256;
/// How many of the last blocks are tried for one that has votes.
const TIPS: u64 = 16;

/// The most operations of the state database in one answer.
pub(crate) const OPERATIONS_MAX: NonZeroU64 = NonZeroU64::new(4096).expect("it is not zero");

/// The largest message on the channel.
pub(crate) fn message_bytes_max() -> usize {
    p2p::max_message_size::<Question>(ANSWER_BYTES_MAX)
}

/// A piece of the state database with its proof.
pub(crate) type Piece = Response<mmr::Family, state::Operation, sha256::Digest>;

/// What one node asks another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Question {
    /// The newest [`Anchor`]. The number tells questions to different peers apart.
    Tip(u32),
    /// Operations of the state database.
    State(Request<mmr::Family>),
    /// Blocks downwards from the one before this height, newest first.
    Before(u64),
    /// The votes for the block at this height.
    Votes(u64),
}

impl Write for Question {
    fn write(&self, buf: &mut impl BufMut) {
        match self {
            Self::Tip(number) => {
                0_u8.write(buf);
                number.write(buf);
            }
            Self::State(request) => {
                1_u8.write(buf);
                request.write(buf);
            }
            Self::Before(height) => {
                2_u8.write(buf);
                height.write(buf);
            }
            Self::Votes(height) => {
                3_u8.write(buf);
                height.write(buf);
            }
        }
    }
}

impl EncodeSize for Question {
    fn encode_size(&self) -> usize {
        1 + match self {
            Self::Tip(number) => number.encode_size(),
            Self::State(request) => request.encode_size(),
            Self::Before(height) | Self::Votes(height) => height.encode_size(),
        }
    }
}

impl MaxEncodeSize for Question {
    const MAX_ENCODE_SIZE: usize = 1 + Request::<mmr::Family>::MAX_ENCODE_SIZE;
}

impl Read for Question {
    type Cfg = ();

    fn read_cfg(buf: &mut impl Buf, (): &()) -> Result<Self, Error> {
        match u8::read(buf)? {
            0 => Ok(Self::Tip(u32::read(buf)?)),
            1 => Ok(Self::State(Request::read(buf)?)),
            2 => Ok(Self::Before(u64::read(buf)?)),
            3 => Ok(Self::Votes(u64::read(buf)?)),
            other => Err(Error::InvalidEnum(other)),
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tip(_) => f.write_str("tip"),
            Self::State(request) => write!(f, "state {request}"),
            Self::Before(height) => write!(f, "blocks before {height}"),
            Self::Votes(height) => write!(f, "votes for {height}"),
        }
    }
}

impl Span for Question {}

/// Whether an answer is what was asked for, said at once or later; none when nobody waits any more.
pub(crate) type Verdict = oneshot::Sender<bool>;

/// Whoever waits for an answer.
pub(crate) trait Judge: Send {
    /// Looks at an answer; another may come when the verdict is against it.
    fn judge(&mut self, answer: Bytes, verdict: Verdict);

    /// Whether nobody waits any more.
    fn is_gone(&self) -> bool;
}

/// Who waits for answers, by number.
#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Judges>>);

#[derive(Default)]
struct Judges {
    last: u64,
    judges: BTreeMap<u64, Box<dyn Judge>>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Judges> {
        self.0.lock().expect("no judge panics")
    }

    fn add(&self, judge: Box<dyn Judge>) -> u64 {
        let mut waiting = self.lock();
        waiting.judges.retain(|_, judge| !judge.is_gone());
        waiting.last += 1;
        let id = waiting.last;
        waiting.judges.insert(id, judge);
        id
    }
}

impl Consumer for Waiting {
    type Key = Question;
    type Value = Bytes;
    type Subscriber = u64;
    type Outcome = bool;

    fn deliver(
        &mut self,
        delivery: Delivery<Question, u64>,
        value: Bytes,
    ) -> oneshot::Receiver<bool> {
        let (verdict, judged) = oneshot::channel();
        // Nobody asks the same question twice at once.
        let (id, _) = delivery.subscribers.first();
        if let Some(judge) = self.lock().judges.get_mut(id) {
            judge.judge(value, verdict);
        }
        judged
    }
}

/// Questions of others, on their way to whoever answers them.
#[derive(Clone)]
struct Desk(mpsc::Sender<(Question, oneshot::Sender<Bytes>)>);

impl Producer for Desk {
    type Key = Question;

    fn produce(&mut self, question: Question) -> oneshot::Receiver<Bytes> {
        let (reply, answer) = oneshot::channel();
        // Too many at once: whoever asked turns to somebody else.
        let _ = self.0.try_send((question, reply));
        answer
    }
}

/// The way to ask peers. Clones share it.
#[derive(Clone)]
pub(crate) struct Peers {
    resolver: p2p::Mailbox<Question, PublicKey, u64>,
    waiting: Waiting,
}

/// A question that is being asked; nobody is asked any more when it is dropped.
pub(crate) struct Asked {
    id: u64,
    peers: Peers,
}

impl Asked {
    /// Leaves it to the judge until when peers are asked.
    pub(crate) fn leave(mut self) {
        self.id = 0;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let id = self.id;
        if self.peers.waiting.lock().judges.remove(&id).is_some() {
            self.peers.resolver.retain(move |_, subscriber| *subscriber != id);
        }
    }
}

/// Opens an answer at once.
struct Opening<T, F> {
    open: F,
    opened: mpsc::Sender<T>,
}

impl<T: Send, F: Fn(&[u8]) -> Option<T> + Send> Judge for Opening<T, F> {
    fn judge(&mut self, answer: Bytes, verdict: Verdict) {
        let opened = (self.open)(&answer);
        let _ = verdict.send(opened.is_some());
        // A second answer is of no use to anybody.
        let _ = opened.map(|opened| self.opened.try_send(opened));
    }

    fn is_gone(&self) -> bool {
        self.opened.is_closed()
    }
}

impl Peers {
    /// Asks one of `targets`, or anybody, until `judge` has taken an answer.
    pub(crate) fn ask_until(
        &self,
        question: Question,
        targets: Option<NonEmptyVec<PublicKey>>,
        judge: Box<dyn Judge>,
    ) -> Asked {
        let id = self.waiting.add(judge);
        let mut resolver = self.resolver.clone();
        let fetch = Fetch { key: question, subscriber: id, span: tracing::Span::none() };
        match targets {
            Some(targets) => resolver.fetch_targeted(fetch, targets),
            None => resolver.fetch(fetch),
        };
        Asked { id, peers: self.clone() }
    }

    /// Asks until `open` makes something of an answer.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: Question,
        targets: Option<NonEmptyVec<PublicKey>>,
        open: impl Fn(&[u8]) -> Option<T> + Send + 'static,
    ) -> T {
        let (sender, mut opened) = mpsc::channel(1);
        let judge = Opening { open, opened: sender };
        let _asked = self.ask_until(question, targets, Box::new(judge));
        opened.recv().await.expect("the judge is there until the question is dropped")
    }
}

/// The database that questions about state are answered from, once there is one.
pub(crate) struct Attached<E: Runtime>(Arc<Mutex<Option<Shared<Database<E>>>>>);

impl<E: Runtime> Clone for Attached<E> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<E: Runtime> Attached<E> {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    pub(crate) fn set(&self, database: Shared<Database<E>>) {
        *self.0.lock().expect("nobody panics while holding it") = Some(database);
    }

    fn get(&self) -> Option<Shared<Database<E>>> {
        self.0.lock().expect("nobody panics while holding it").clone()
    }
}

/// Starts asking and answering on a channel.
pub(crate) fn start<E, S, R, B, P>(
    context: &E,
    channel: (S, R),
    (me, blocker, peers): (PublicKey, B, P),
    timing: &Timing,
) -> (Peers, Questions)
where
    E: Runtime,
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
    B: Blocker<PublicKey = PublicKey>,
    P: Provider<PublicKey = PublicKey>,
{
    let (sender, questions) = mpsc::channel(QUEUED);
    let waiting = Waiting::default();
    let config = p2p::Config {
        peer_provider: peers,
        blocker,
        consumer: waiting.clone(),
        producer: Desk(sender),
        mailbox_size: MAILBOX,
        me: Some(me),
        fetch_timeout: NZDuration!(timing.fetch),
        fetch_retry_delay: Duration::from_millis(100),
        priority_requests: false,
        priority_responses: false,
    };
    let (engine, resolver) = p2p::Engine::new(context.child("transfer"), config);
    engine.start(channel);
    (Peers { resolver, waiting }, Questions(questions))
}

/// The questions of others that wait for an answer.
pub(crate) struct Questions(mpsc::Receiver<(Question, oneshot::Sender<Bytes>)>);

impl Questions {
    /// Answers them from what this node has. What it does not have it leaves unanswered.
    pub(crate) fn answer<E: Runtime>(
        mut self,
        context: E,
        requests: Requests,
        chain: Arc<crate::chain::Chain>,
        database: Attached<E>,
    ) {
        context.spawn(async move |_| {
            let (requests, chain, database) = (&requests, &chain, &database);
            stream::poll_fn(|context| self.0.poll_recv(context))
                .for_each_concurrent(CONCURRENT, async |(question, reply)| {
                    let answer = match question {
                        Question::Tip(_) => tip(requests, chain.tip().height).await,
                        Question::State(request) => piece(database.get(), request).await,
                        Question::Before(height) => before(requests, height).await,
                        Question::Votes(height) => votes(requests, height).await,
                    };
                    // Whoever asked may be gone.
                    let _ = answer.map(|answer| reply.send(answer));
                })
                .await;
        });
    }
}

/// The newest header that has votes.
async fn tip(requests: &Requests, height: u64) -> Option<Bytes> {
    for height in (height.saturating_sub(TIPS).max(1)..=height).rev() {
        let ask = |reply| service::Request::Anchor(height, reply);
        if let Some(anchor) = service::ask::<Option<Anchor>>(requests, ask).await? {
            return Some(anchor.to_bytes().into());
        }
    }
    None
}

/// As many of the operations asked for as a piece may have; the first one at least.
async fn piece<E: Runtime>(
    database: Option<Shared<Database<E>>>,
    request: Request<mmr::Family>,
) -> Option<Bytes> {
    let (database, mut request) = (database?, request);
    loop {
        if let Request::Operations { max_ops, .. } = &mut request {
            *max_ops = OPERATIONS_MAX.min(*max_ops);
        }
        let (piece, _) = database.serve(request).await.ok()?;
        let bytes = piece.encode();
        match &mut request {
            Request::Operations { max_ops, .. }
                if bytes.len() > PIECE_BYTES && max_ops.get() > 1 =>
            {
                *max_ops = NonZeroU64::new(max_ops.get() / 2)?;
            }
            _ => return (bytes.len() <= ANSWER_BYTES_MAX).then_some(bytes),
        }
    }
}

/// The votes for the block at `height`.
async fn votes(requests: &Requests, height: u64) -> Option<Bytes> {
    let ask = |reply| service::Request::Certified(height, reply);
    let block = service::ask::<Option<CertifiedBlock>>(requests, ask).await??;
    Some(block.certificate?.to_bytes().into())
}

/// The blocks below `height`, newest first, until they have the bytes of a piece.
async fn before(requests: &Requests, height: u64) -> Option<Bytes> {
    let (mut blocks, mut bytes) = (Vec::new(), 0);
    for height in (1..height).rev() {
        let ask = |reply| service::Request::Certified(height, reply);
        let Some(block) = service::ask::<Option<CertifiedBlock>>(requests, ask).await? else {
            break;
        };
        bytes += borsh::object_length(&block).expect("measuring cannot fail");
        blocks.push(block);
        if bytes >= PIECE_BYTES {
            break;
        }
    }
    let answer = borsh::to_vec(&blocks).expect("writing to memory cannot fail");
    (!blocks.is_empty()).then(|| answer.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use commonware_codec::DecodeExt as _;
    use commonware_storage::merkle::Location;

    #[test]
    fn questions_survive_their_encoding_and_fit_the_largest() {
        let (size, start) = (Location::new(1 << 40), Location::new(7));
        let questions = [
            Question::Tip(u32::MAX),
            Question::State(Request::Operations { size, start, max_ops: OPERATIONS_MAX }),
            Question::State(Request::Boundary { size, start }),
            Question::Before(u64::MAX),
            Question::Votes(u64::MAX),
        ];
        for question in questions {
            let bytes = question.encode();
            assert!(bytes.len() <= Question::MAX_ENCODE_SIZE);
            assert_eq!(Question::decode(bytes).unwrap(), question);
        }
        assert!(Question::decode(Bytes::from_static(&[4])).is_err());
    }

    #[test]
    fn a_judge_that_nobody_waits_for_is_forgotten() {
        let waiting = Waiting::default();
        let judge = || {
            let (opened, receiver) = mpsc::channel::<()>(1);
            (Box::new(Opening { open: |_: &[u8]| Some(()), opened }), receiver)
        };
        let (gone, receiver) = judge();
        waiting.add(gone);
        drop(receiver);
        let (there, _receiver) = judge();
        waiting.add(there);
        assert_eq!(waiting.lock().judges.len(), 1);
    }
}
