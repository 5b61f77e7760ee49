//! Transactions that wait for a block.
//!
//! Authors take turns; of each author, first come, first served. Bounded in count and bytes, in all and
//! per author: a transaction of one author waits for at most as many of another as it has before it of
//! its own, whatever the other floods the pool with. Only members are authors, each with its own key, so
//! that nobody takes the turns of many. Nothing enters twice, nothing enters unchecked, nothing stays
//! past its expiry. A transaction leaves only when it is final or can never be: what a proposal took along comes back by itself when that proposal comes to nothing.
//! Absent on purpose: disk (whoever submits keeps the transaction until its receipt) and clock.

use aegle_ledger::{Transaction, TxId};
use aegle_model::{Canonical as _, CentreId, Hash, PublicKey};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::{Mutex, MutexGuard},
};
use tokio::sync::watch;

/// What the pool may hold and hand out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Transactions in the pool.
    pub(crate) count: usize,
    /// Bytes of all transactions in the pool.
    pub(crate) bytes: usize,
    /// Transactions of one author in the pool.
    pub(crate) per_author: usize,
    /// Bytes of one author's transactions in the pool: a part of `bytes`, so that nobody fills it alone.
    pub(crate) per_author_bytes: usize,
    /// Transactions in one block.
    pub(crate) block_count: usize,
    /// Bytes of all transactions in one block.
    pub(crate) block_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            count: 20_000,
            bytes: 32 * 1024 * 1024,
            per_author: 10_000,
            per_author_bytes: 8 * 1024 * 1024,
            block_count: 1000,
            block_bytes: 384 * 1024,
        }
    }
}

/// How many finished and how many checked transactions are remembered.
const REMEMBERED: usize = 16_384;
/// How many transactions are told again at a time.
const TOLD_AGAIN: usize = 256;

/// Why the pool does not take a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It is in the pool already.
    Waiting,
    /// It is final already.
    Final,
    /// It may not enter any later block.
    Expired,
    /// Its author is no member with this key.
    Foreign,
    /// Its author has too many in the pool.
    Quota,
    /// The pool is full.
    Full,
}

/// Who brought a transaction here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Submitted at this node, which tells the others.
    Here,
    /// Heard from another node.
    Elsewhere,
}

struct Waiting {
    transaction: Transaction,
    id: TxId,
    bytes: usize,
    origin: Origin,
}

/// What of the pool is one author's.
#[derive(Default, Clone, Copy)]
struct Share {
    count: usize,
    bytes: usize,
}

#[derive(Default)]
struct Inner {
    /// By order of arrival.
    waiting: BTreeMap<u64, Waiting>,
    /// The same by the height at which each expires.
    expiring: BTreeSet<(u64, u64)>,
    arrivals: u64,
    numbers: HashMap<TxId, u64>,
    authors: HashMap<CentreId, Share>,
    /// The members with their keys, once they are known.
    members: Option<HashMap<CentreId, PublicKey>>,
    bytes: usize,
    height: u64,
    finished: Remembered,
    checked: Remembered,
    untold: VecDeque<u64>,
}

/// The waiting transactions of one node.
pub(crate) struct Pool {
    limits: Limits,
    inner: Mutex<Inner>,
    /// For whoever proposes, and for whoever tells the others: one waits at each, since a watch wakes
    /// several in any order and a simulated network has to run the same way twice.
    arrived: watch::Sender<u64>,
    telling: watch::Sender<u64>,
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Self {
        let (arrived, telling) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { limits, inner: Mutex::default(), arrived, telling }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no thread panics while it holds the pool")
    }

    /// Whether [`Pool::insert`] would take `id` of `author` now; cheap, so that it comes before the
    /// signature check.
    pub(crate) fn admits(
        &self,
        id: &TxId,
        transaction: &Transaction,
        bytes: usize,
    ) -> Result<(), Refused> {
        self.lock().admits(&self.limits, id, transaction, bytes)
    }

    /// Takes transactions of these members with these keys from now on, and no others; returns those
    /// that waited and may be in no block any more.
    pub(crate) fn restrict(&self, members: HashMap<CentreId, PublicKey>) -> Vec<TxId> {
        let mut inner = self.lock();
        inner.members = Some(members);
        let waiting = inner.waiting.values();
        let foreign = waiting.filter(|waiting| inner.is_foreign(&waiting.transaction));
        let ids: Vec<TxId> = foreign.map(|waiting| waiting.id).collect();
        for id in &ids {
            inner.remove(id);
        }
        ids
    }

    /// Takes a transaction whose envelope was checked, and wakes who waits for one.
    pub(crate) fn insert(
        &self,
        id: TxId,
        transaction: Transaction,
        origin: Origin,
    ) -> Result<(), Refused> {
        let bytes = transaction.to_bytes().len();
        {
            let mut inner = self.lock();
            inner.admits(&self.limits, &id, &transaction, bytes)?;
            inner.insert(Waiting { transaction, id, bytes, origin });
        }
        self.telling.send_modify(|arrivals| *arrivals += 1);
        self.arrived.send_modify(|arrivals| *arrivals += 1);
        Ok(())
    }

    /// Changes whenever a transaction enters or is to be told again: for the one who tells.
    pub(crate) fn untold_arrivals(&self) -> watch::Receiver<u64> {
        self.telling.subscribe()
    }

    /// Changes whenever a transaction enters: for the one who proposes.
    pub(crate) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrived.subscribe()
    }

    /// Whether a transaction waits that is none of `taken`.
    pub(crate) fn offers_more_than(&self, taken: &BTreeSet<TxId>) -> bool {
        self.lock().waiting.values().any(|waiting| !taken.contains(&waiting.id))
    }

    /// What the next block may take, without those in `taken`: the authors in turn, of each the oldest
    /// first. So whoever floods the pool delays only themselves.
    pub(crate) fn candidates(&self, taken: &BTreeSet<TxId>) -> Vec<Transaction> {
        let inner = self.lock();
        let mut bytes = 0;
        let in_turn = inner.in_turn(taken).into_iter();
        in_turn
            .take(self.limits.block_count)
            .take_while(|waiting| {
                bytes += waiting.bytes;
                bytes <= self.limits.block_bytes
            })
            .map(|waiting| waiting.transaction.clone())
            .collect()
    }

    /// Removes what became final with the block at `height`; returns what expired with it.
    pub(crate) fn finalise(&self, height: u64, ids: impl Iterator<Item = TxId>) -> Vec<TxId> {
        let mut inner = self.lock();
        for id in ids {
            inner.remove(&id);
            inner.finished.add(id);
        }
        inner.height = height;
        inner.expire()
    }

    /// Removes transactions that a proposer had to leave out of a block.
    pub(crate) fn discard(&self, ids: impl Iterator<Item = TxId>) {
        let mut inner = self.lock();
        for id in ids {
            inner.remove(&id);
        }
    }

    /// The height of the last block that [`Pool::finalise`] heard of.
    pub(crate) fn height(&self) -> u64 {
        self.lock().height
    }

    /// Whether this node has checked the signatures of exactly this transaction before.
    pub(crate) fn has_checked(&self, transaction: &Transaction) -> bool {
        let inner = self.lock();
        let number = inner.numbers.get(&transaction.id());
        let waiting = number.and_then(|number| inner.waiting.get(number));
        waiting.is_some_and(|waiting| waiting.transaction == *transaction)
            || inner.checked.contains(&signed(transaction))
    }

    /// Remembers that the signatures of this transaction hold.
    pub(crate) fn mark_checked(&self, transaction: &Transaction) {
        self.lock().checked.add(signed(transaction));
    }

    /// The next transactions to tell the other nodes of, up to `bytes` in all.
    pub(crate) fn untold(&self, bytes: usize) -> Vec<Transaction> {
        let mut inner = self.lock();
        let mut told = Vec::new();
        let mut total = 0;
        while let Some(number) = inner.untold.front().copied() {
            if let Some(waiting) = inner.waiting.get(&number) {
                total += waiting.bytes;
                if total > bytes && !told.is_empty() {
                    break;
                }
                told.push(waiting.transaction.clone());
            }
            inner.untold.pop_front();
        }
        told
    }

    /// Queues the oldest that were submitted here and still wait to be told again: a node that was
    /// away may have missed them.
    pub(crate) fn tell_again(&self) {
        let mut inner = self.lock();
        let here = |(number, waiting): (&u64, &Waiting)| {
            (waiting.origin == Origin::Here).then_some(*number)
        };
        inner.untold = inner.waiting.iter().filter_map(here).take(TOLD_AGAIN).collect();
        drop(inner);
        self.telling.send_modify(|arrivals| *arrivals += 1);
    }

    /// How many transactions wait, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.waiting.len(), inner.bytes)
    }
}

/// Names a transaction with its signature, which its id leaves out.
fn signed(transaction: &Transaction) -> Hash {
    Hash::sha256(&[&transaction.to_bytes()])
}

impl Inner {
    /// All that waits but `taken`, by the place among its author's own, then by arrival.
    fn in_turn(&self, taken: &BTreeSet<TxId>) -> Vec<&Waiting> {
        let mut counts: HashMap<CentreId, usize> = HashMap::new();
        let fresh = self.waiting.values().filter(|waiting| !taken.contains(&waiting.id));
        let mut placed: Vec<(usize, &Waiting)> = fresh
            .map(|waiting| {
                let place = counts.entry(waiting.transaction.author()).or_default();
                *place += 1;
                (*place, waiting)
            })
            .collect();
        // Stable: those with the same place stay in the order of arrival.
        placed.sort_by_key(|(place, _)| *place);
        placed.into_iter().map(|(_, waiting)| waiting).collect()
    }

    fn admits(
        &self,
        limits: &Limits,
        id: &TxId,
        transaction: &Transaction,
        bytes: usize,
    ) -> Result<(), Refused> {
        let of_author = self.authors.get(&transaction.author()).copied().unwrap_or_default();
        match () {
            () if self.numbers.contains_key(id) => Err(Refused::Waiting),
            () if self.finished.contains(id) => Err(Refused::Final),
            () if transaction.expires() <= self.height => Err(Refused::Expired),
            () if self.is_foreign(transaction) => Err(Refused::Foreign),
            () if of_author.count >= limits.per_author => Err(Refused::Quota),
            () if of_author.bytes + bytes > limits.per_author_bytes => Err(Refused::Quota),
            () if self.waiting.len() >= limits.count => Err(Refused::Full),
            () if self.bytes + bytes > limits.bytes => Err(Refused::Full),
            () => Ok(()),
        }
    }

    fn is_foreign(&self, transaction: &Transaction) -> bool {
        let key = |members: &HashMap<_, _>| members.get(&transaction.author()).copied();
        self.members.as_ref().is_some_and(|members| key(members) != Some(transaction.key()))
    }

    fn insert(&mut self, waiting: Waiting) {
        self.arrivals += 1;
        let number = self.arrivals;
        self.numbers.insert(waiting.id, number);
        let share = self.authors.entry(waiting.transaction.author()).or_default();
        share.count += 1;
        share.bytes += waiting.bytes;
        self.bytes += waiting.bytes;
        if waiting.origin == Origin::Here {
            self.untold.push_back(number);
        }
        self.expiring.insert((waiting.transaction.expires(), number));
        self.waiting.insert(number, waiting);
    }

    fn remove(&mut self, id: &TxId) {
        let Some(number) = self.numbers.remove(id) else { return };
        let Some(waiting) = self.waiting.remove(&number) else { return };
        self.expiring.remove(&(waiting.transaction.expires(), number));
        self.bytes -= waiting.bytes;
        let author = waiting.transaction.author();
        let left = self.authors.get_mut(&author).expect("every waiting transaction is counted");
        left.count -= 1;
        left.bytes -= waiting.bytes;
        if left.count == 0 {
            self.authors.remove(&author);
        }
        self.checked.add(signed(&waiting.transaction));
    }

    fn expire(&mut self) -> Vec<TxId> {
        let expired = self.expiring.range(..=(self.height, u64::MAX));
        let waiting = expired.filter_map(|(_, number)| self.waiting.get(number));
        let ids: Vec<TxId> = waiting.map(|waiting| waiting.id).collect();
        for id in &ids {
            self.remove(id);
        }
        ids
    }
}

/// The last [`REMEMBERED`] hashes that were added.
#[derive(Default)]
struct Remembered {
    ids: HashSet<Hash>,
    order: VecDeque<Hash>,
}

impl Remembered {
    fn add(&mut self, id: Hash) {
        if !self.ids.insert(id) {
            return;
        }
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    fn contains(&self, id: &Hash) -> bool {
        self.ids.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use aegle_model::SigningKey;

    const LIMITS: Limits = Limits {
        count: 4,
        bytes: 100_000,
        per_author: 3,
        per_author_bytes: 100_000,
        block_count: 2,
        block_bytes: 100_000,
    };

    struct Fixture {
        keys: Vec<SigningKey>,
        pool: Pool,
    }

    impl Fixture {
        fn new() -> Self {
            Self { keys: fixture::keys(2), pool: Pool::new(LIMITS) }
        }

        fn transaction(&self, author: usize, number: u64, expires: u64) -> Transaction {
            fixture::enrol(&fixture::genesis(&self.keys), &self.keys[author], number, expires)
        }

        fn insert(&self, transaction: &Transaction) -> Result<(), Refused> {
            self.pool.insert(transaction.id(), transaction.clone(), Origin::Here)
        }

        fn candidates(&self) -> Vec<TxId> {
            self.pool.candidates(&BTreeSet::new()).iter().map(Transaction::id).collect()
        }
    }

    #[test]
    fn the_oldest_come_first_and_only_as_many_as_fit() {
        let fixture = Fixture::new();
        let all: Vec<_> = (0..3).map(|number| fixture.transaction(0, number, 9)).collect();
        for transaction in &all {
            fixture.insert(transaction).unwrap();
        }
        let ids: Vec<_> = all.iter().map(Transaction::id).collect();
        assert_eq!(fixture.candidates(), ids[..2]);
        let taken = BTreeSet::from([ids[0]]);
        let next: Vec<_> = fixture.pool.candidates(&taken).iter().map(Transaction::id).collect();
        assert_eq!(next, ids[1..]);
    }

    #[test]
    fn authors_take_turns_however_many_one_of_them_has_waiting() {
        let fixture = Fixture::new();
        let flood: Vec<_> = (0..3).map(|number| fixture.transaction(0, number, 9)).collect();
        let late = fixture.transaction(1, 0, 9);
        for transaction in flood.iter().chain([&late]) {
            fixture.insert(transaction).unwrap();
        }
        assert_eq!(fixture.candidates(), [flood[0].id(), late.id()]);
    }

    #[test]
    fn only_members_with_their_own_keys_are_authors() {
        let fixture = Fixture::new();
        let [first, second] = [0, 1].map(|author| fixture.transaction(author, 0, 9));
        for transaction in [&first, &second] {
            fixture.insert(transaction).unwrap();
        }
        let only = HashMap::from([(second.author(), second.key())]);
        assert_eq!(fixture.pool.restrict(only), [first.id()]);
        assert_eq!(fixture.candidates(), [second.id()]);
        assert_eq!(fixture.insert(&first), Err(Refused::Foreign));
        let rotated = HashMap::from([(second.author(), first.key())]);
        assert_eq!(fixture.pool.restrict(rotated), [second.id()]);
        assert_eq!(fixture.insert(&second), Err(Refused::Foreign));
        assert_eq!(fixture.pool.size(), (0, 0));
    }

    #[test]
    fn an_author_fills_no_more_than_a_share_of_the_bytes() {
        let fixture = Fixture::new();
        let first = fixture.transaction(0, 0, 9);
        let per_author_bytes = first.to_bytes().len() + 1;
        let pool = Pool::new(Limits { per_author_bytes, ..LIMITS });
        let insert = |transaction: &Transaction| {
            pool.insert(transaction.id(), transaction.clone(), Origin::Here)
        };
        insert(&first).unwrap();
        assert_eq!(insert(&fixture.transaction(0, 1, 9)), Err(Refused::Quota));
        insert(&fixture.transaction(1, 0, 9)).unwrap();
        pool.discard(std::iter::once(first.id()));
        insert(&fixture.transaction(0, 1, 9)).unwrap();
    }

    #[test]
    fn a_block_takes_no_more_bytes_than_allowed() {
        let fixture = Fixture::new();
        let one = fixture.transaction(0, 0, 9);
        let bytes = one.to_bytes().len();
        let pool = Pool::new(Limits { block_bytes: bytes + 1, ..LIMITS });
        for transaction in [one, fixture.transaction(0, 1, 9)] {
            pool.insert(transaction.id(), transaction, Origin::Here).unwrap();
        }
        assert_eq!(pool.candidates(&BTreeSet::new()).len(), 1);
    }

    #[test]
    fn nothing_enters_twice_neither_while_it_waits_nor_when_it_is_final() {
        let fixture = Fixture::new();
        let transaction = fixture.transaction(0, 0, 9);
        fixture.insert(&transaction).unwrap();
        assert_eq!(fixture.insert(&transaction), Err(Refused::Waiting));
        fixture.pool.finalise(1, std::iter::once(transaction.id()));
        assert_eq!(fixture.insert(&transaction), Err(Refused::Final));
        assert_eq!(fixture.pool.size(), (0, 0));
    }

    #[test]
    fn what_a_proposal_took_stays_until_it_is_final() {
        let fixture = Fixture::new();
        let transaction = fixture.transaction(0, 0, 9);
        fixture.insert(&transaction).unwrap();
        assert_eq!(fixture.candidates(), [transaction.id()]);
        fixture.pool.finalise(1, std::iter::empty());
        assert_eq!(fixture.candidates(), [transaction.id()]);
    }

    #[test]
    fn an_author_and_the_pool_have_their_limits() {
        let fixture = Fixture::new();
        for number in 0..3 {
            fixture.insert(&fixture.transaction(0, number, 9)).unwrap();
        }
        assert_eq!(fixture.insert(&fixture.transaction(0, 3, 9)), Err(Refused::Quota));
        fixture.insert(&fixture.transaction(1, 0, 9)).unwrap();
        assert_eq!(fixture.insert(&fixture.transaction(1, 1, 9)), Err(Refused::Full));
        fixture.pool.discard(std::iter::once(fixture.transaction(0, 0, 9).id()));
        fixture.insert(&fixture.transaction(1, 1, 9)).unwrap();
    }

    #[test]
    fn a_transaction_leaves_after_its_last_height() {
        let fixture = Fixture::new();
        let transaction = fixture.transaction(0, 0, 5);
        fixture.insert(&transaction).unwrap();
        assert_eq!(fixture.pool.finalise(4, std::iter::empty()), []);
        assert_eq!(fixture.pool.finalise(5, std::iter::empty()), [transaction.id()]);
        assert_eq!(fixture.insert(&transaction), Err(Refused::Expired));
    }

    #[test]
    fn only_what_was_submitted_here_is_told_and_only_once() {
        let fixture = Fixture::new();
        let (here, elsewhere) = (fixture.transaction(0, 0, 9), fixture.transaction(1, 0, 9));
        fixture.insert(&here).unwrap();
        fixture.pool.insert(elsewhere.id(), elsewhere, Origin::Elsewhere).unwrap();
        assert_eq!(fixture.pool.untold(1), std::slice::from_ref(&here));
        assert_eq!(fixture.pool.untold(1), []);
        fixture.pool.tell_again();
        assert_eq!(fixture.pool.untold(1), [here]);
    }

    #[test]
    fn a_check_holds_for_one_signature_only() {
        let fixture = Fixture::new();
        let transaction = fixture.transaction(0, 0, 9);
        let mut bytes = transaction.to_bytes();
        *bytes.last_mut().unwrap() ^= 1;
        let forged = Transaction::from_bytes(&bytes).unwrap();
        assert_eq!(forged.id(), transaction.id());
        fixture.insert(&transaction).unwrap();
        assert!(fixture.pool.has_checked(&transaction));
        assert!(!fixture.pool.has_checked(&forged));
        fixture.pool.finalise(1, std::iter::once(transaction.id()));
        assert!(fixture.pool.has_checked(&transaction));
        assert!(!fixture.pool.has_checked(&forged));
    }
}
