//! How liars lie: to whom they speak, what they hear, what they propose.

use super::{
    client::EXPIRES,
    machine::shift,
    plan::{Alteration, Lie, Nodes},
};
use crate::{
    block::{Block, Context as Round},
    fixture,
};
use aegle_ledger::{Anchor, Genesis, Outcome, Transaction, merkle_root};
use aegle_model::{Canonical as _, Hash, SigningKey, Timestamp};
use commonware_actor::{Feedback, Unreliable};
use commonware_consensus::{Application, Handoff, marshal::ancestry::Ancestry};
use commonware_cryptography::{Digested, Digestible as _, ed25519::PublicKey};
use commonware_p2p::{
    CheckedSender, LimitedSender, Recipients, Sender,
    simulated::{SplitForwarder, SplitOrigin, SplitTarget},
};
use commonware_runtime::{Clock, IoBuf, IoBufs, Spawner};
use commonware_storage::Context;
use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, SystemTime},
};

/// The channels of [`crate::engine::CHANNELS`] that carry blocks.
const BLOCKS: [u64; 2] = [3, 4];
/// The channel that carries transactions.
pub(super) const TRANSACTIONS: u64 = 7;
/// The channel that carries state and blocks of the past.
const PAST: u64 = 5;
/// An answer begins with the number of its question and a tag.
const ANSWER_HEAD: usize = 9;
/// Questions about the past are shorter; with answers a liar may garble a little more than these.
const ANSWER: usize = 100;
/// How often invented transactions are told, and how many at a time.
const INVENTED: (u64, u64) = (10, 300);
/// The pause in between.
const PAUSE: Duration = Duration::from_millis(200);
/// An hour, in milliseconds.
const HOUR: u64 = 3_600_000;

/// Tells the others of transactions of authors that are not there.
pub(super) async fn invent(
    clock: impl Clock,
    genesis: Genesis,
    mut sender: impl Sender<PublicKey = PublicKey>,
) {
    let (times, many) = INVENTED;
    for time in 0..times {
        clock.sleep(PAUSE).await;
        let invented: Vec<Transaction> = (0..many)
            .map(|number| {
                let seed = Hash::of("invented", &[&(time * many + number).to_le_bytes()]);
                let key = SigningKey::from_seed(seed.as_bytes());
                fixture::enrol(&genesis, &key, 0, EXPIRES)
            })
            .collect();
        let message = borsh::to_vec(&invented).expect("writing to memory cannot fail");
        sender.send(Recipients::All, IoBuf::from(message), false);
    }
}

/// One channel of one validator.
#[derive(Clone)]
pub(super) struct Line {
    pub(super) channel: u64,
    pub(super) lie: Option<Lie>,
    pub(super) peers: Arc<[PublicKey]>,
}

impl Line {
    /// Decides who gets a message. The type is the same for all, so that one engine is compiled.
    pub(super) fn forwarder(self) -> impl SplitForwarder<PublicKey> {
        move |origin: SplitOrigin, to: &Recipients<PublicKey>, _: &_| self.forward(origin, to)
    }

    fn forward(
        &self,
        origin: SplitOrigin,
        to: &Recipients<PublicKey>,
    ) -> Option<Recipients<PublicKey>> {
        let allowed = match self.lie {
            Some(Lie::Twins(one, other)) => {
                if origin == SplitOrigin::Primary {
                    one
                } else {
                    other
                }
            }
            Some(Lie::Withholds(to)) if BLOCKS.contains(&self.channel) => to,
            _ => return Some(to.clone()),
        };
        let allows = |peer: &PublicKey| self.stands_in(peer, allowed);
        match to {
            Recipients::One(peer) => allows(peer).then(|| to.clone()),
            Recipients::Some(peers) => Some(some(peers, allows)),
            Recipients::All => Some(some(&self.peers, allows)),
        }
    }

    fn stands_in(&self, peer: &PublicKey, set: Nodes) -> bool {
        let number = self.peers.iter().position(|it| it == peer);
        number.is_some_and(|number| set >> number & 1 == 1)
    }

    /// Which half of a liar hears a message.
    pub(super) fn hears(&self, from: &PublicKey) -> SplitTarget {
        match self.lie {
            Some(Lie::Twins(one, other)) => {
                match (self.stands_in(from, one), self.stands_in(from, other)) {
                    (true, true) => SplitTarget::Both,
                    (true, false) => SplitTarget::Primary,
                    (false, true) => SplitTarget::Secondary,
                    (false, false) => SplitTarget::None,
                }
            }
            Some(Lie::LeavesOut(author)) if self.channel == TRANSACTIONS => {
                if *from == self.peers[author] { SplitTarget::None } else { SplitTarget::Primary }
            }
            _ => SplitTarget::Primary,
        }
    }
}

/// Speaks on one channel of one validator.
#[derive(Clone, Debug)]
pub(super) struct Mouth<S> {
    sender: S,
    /// How many milliseconds the validator's clock is ahead.
    ahead: i64,
    lie: Option<PastLie>,
}

/// How a liar answers those who ask about the past.
#[derive(Clone, Debug)]
enum PastLie {
    Garbles,
    /// Repeats the first end of the chain that it named.
    Stale(Arc<OnceLock<Vec<u8>>>),
}

impl<S> Mouth<S> {
    pub(super) fn new(sender: S, ahead: i64, (channel, lie): (u64, Option<Lie>)) -> Self {
        let lie = match lie {
            Some(Lie::Garbles) if channel == PAST => Some(PastLie::Garbles),
            Some(Lie::Stale) if channel == PAST => Some(PastLie::Stale(Arc::default())),
            _ => None,
        };
        Self { sender, ahead, lie }
    }
}

impl PastLie {
    fn alter(&self, message: IoBufs) -> IoBufs {
        match self {
            Self::Garbles => garbled(message),
            Self::Stale(named) => stale(message, named),
        }
    }
}

/// Names in place of an end of the chain the one that was `named` first.
fn stale(message: IoBufs, named: &OnceLock<Vec<u8>>) -> IoBufs {
    let bytes = message.coalesce();
    let (head, answer) = bytes.as_ref().split_at(bytes.len().min(ANSWER_HEAD));
    // The length comes first.
    let value = answer.iter().position(|byte| byte & 0x80 == 0).map(|last| &answer[last + 1..]);
    if value.is_none_or(|value| Anchor::from_bytes(value).is_err()) {
        return bytes.into();
    }
    [head, named.get_or_init(|| answer.to_vec())].concat().into()
}

/// Alters one byte of an answer.
fn garbled(message: IoBufs) -> IoBufs {
    let mut bytes = message.coalesce().as_ref().to_vec();
    if bytes.len() > ANSWER {
        let place = bytes.len() * 2 / 3;
        bytes[place] ^= 1;
    }
    bytes.into()
}

impl<S: LimitedSender> LimitedSender for Mouth<S> {
    type PublicKey = S::PublicKey;
    type Checked<'a>
        = Mouth<S::Checked<'a>>
    where
        S: 'a;

    fn check(
        &mut self,
        recipients: Recipients<S::PublicKey>,
    ) -> Result<Self::Checked<'_>, SystemTime> {
        // Who may speak again hears by its own clock when: else it asks without end until then.
        let checked = self.sender.check(recipients).map_err(|time| shift(time, self.ahead));
        Ok(Mouth { sender: checked?, ahead: self.ahead, lie: self.lie.clone() })
    }
}

impl<S: CheckedSender> CheckedSender for Mouth<S> {
    type PublicKey = S::PublicKey;

    fn recipients(&self) -> Vec<S::PublicKey> {
        self.sender.recipients()
    }

    fn send(self, message: impl Into<IoBufs> + Send, priority: bool) -> Unreliable<Feedback> {
        let message = message.into();
        let message = match &self.lie {
            Some(lie) => lie.alter(message),
            None => message,
        };
        self.sender.send(message, priority)
    }
}

fn some(peers: &[PublicKey], allows: impl Fn(&PublicKey) -> bool) -> Recipients<PublicKey> {
    Recipients::Some(peers.iter().filter(|peer| allows(peer)).cloned().collect())
}

/// The engine's application, whose proposals may be altered.
#[derive(Clone)]
pub(super) struct Proposer<A> {
    inner: A,
    alteration: Option<Alteration>,
    /// A transaction of an earlier block.
    old: Arc<Mutex<Option<(Transaction, Outcome)>>>,
    /// The first block that it proposed.
    first: Arc<Mutex<Option<Digested<Block>>>>,
}

impl<A> Proposer<A> {
    pub(super) fn new(inner: A, lie: Option<Lie>) -> Self {
        let alteration = match lie {
            Some(Lie::Alters(alteration)) => Some(alteration),
            _ => None,
        };
        Self { inner, alteration, old: Arc::default(), first: Arc::default() }
    }

    fn lie(&self, honest: Digested<Block>, parent: Timestamp) -> Digested<Block> {
        let Some(alteration) = self.alteration else { return honest };
        let first = self.first.lock().unwrap().get_or_insert_with(|| honest.clone()).clone();
        if alteration == Alteration::Block {
            return first;
        }
        let mut block = honest.inner().block().clone();
        let other = Hash::of("lie", &[block.header.state.as_bytes()]);
        let last = block.entries.last().cloned();
        let old = self.old.lock().unwrap().clone().filter(|old| Some(old) != last.as_ref());
        match alteration {
            Alteration::State => block.header.state = other,
            Alteration::Heads => block.header.heads = other,
            Alteration::Transactions => block.header.transactions = other,
            Alteration::Validators => block.header.validators = other,
            Alteration::Past => block.header.time = parent,
            Alteration::Future => block.header.time.0 += HOUR,
            Alteration::Drops => drop(block.entries.pop()),
            Alteration::Repeats => block.entries.extend(last.clone()),
            Alteration::Replays => block.entries.extend(old),
            Alteration::Epoch => block.header.epoch += 1,
            Alteration::Version => block.header.version += 1,
            Alteration::Block => {}
        }
        if let Some(last) = last {
            self.old.lock().unwrap().get_or_insert(last);
        }
        if alteration != Alteration::Transactions {
            block.header.transactions = merkle_root(&block.leaves());
        }
        let block = Block::new(block, honest.inner().seal().clone());
        let digest = block.digest();
        Digested::precomputed(block, digest)
    }
}

impl<E: Context + Spawner, A> Application<E> for Proposer<A>
where
    A: Application<E, Block = Block, Context = Round, Input = ()> + Sync,
{
    type SigningScheme = A::SigningScheme;
    type Context = Round;
    type Block = Block;
    type Input = ();

    async fn prepare(
        &mut self,
        context: (E, Round),
        ancestry: impl Ancestry<Block>,
        input: (),
    ) -> Handoff<Digested<Block>> {
        self.inner.prepare(context, ancestry, input).await
    }

    async fn propose(
        &mut self,
        context: (E, Round),
        ancestry: impl Ancestry<Block>,
        input: (),
    ) -> Option<Digested<Block>> {
        let parent = ancestry.peek()?.inner().header().time;
        let honest = self.inner.propose(context, ancestry, input).await?;
        Some(self.lie(honest, parent))
    }

    async fn verify(&mut self, context: (E, Round), ancestry: impl Ancestry<Block>) -> bool {
        self.inner.verify(context, ancestry).await
    }
}

#[test]
fn who_is_stale_names_the_first_end_again_and_leaves_all_else_alone() {
    let mut network = aegle_ledger::fixture::Network::new(4);
    let mut message = |id: u64| {
        network.commit(&[]);
        let mut bytes = [&id.to_be_bytes()[..], &[1]].concat();
        let anchor = bytes::Bytes::from(network.anchor(id).to_bytes());
        bytes.extend(commonware_codec::Encode::encode(&anchor));
        bytes
    };
    let (first, second) = (message(1), message(2));
    let lie = PastLie::Stale(Arc::default());
    let say = |bytes: &[u8]| lie.alter(bytes.to_vec().into()).coalesce().as_ref().to_vec();
    assert_eq!(say(&first), first);
    let (said, named) = (say(&second), &first[ANSWER_HEAD..]);
    assert_ne!(said, second);
    assert_eq!(said, [&second[..ANSWER_HEAD], named].concat());
    for other in [&second[..ANSWER_HEAD], &second[..40], &[]] {
        assert_eq!(say(other), other);
    }
}
