//! Tells every validator of the transactions submitted here, and hears of theirs.
//!
//! Every node is connected to every other, so nothing is passed on. What is lost on the way is told
//! again while it waits; what is heard is checked like a submission before it enters the pool.

use crate::pool::{Origin, Pool};
use aegle_ledger::Transaction;
use aegle_model::{Batch, NetworkId};
use commonware_macros::select;
use commonware_p2p::{CheckedSender as _, Receiver, Recipients, Sender};
use commonware_runtime::{Clock, IoBuf, Metrics, Spawner};
use rand_core::CryptoRng;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tracing::debug;

/// The most bytes of one message.
pub(crate) const MESSAGE_BYTES_MAX: usize = 512 * 1024;
/// Transactions are gathered into messages of about this size.
const GATHERED_BYTES: usize = 128 * 1024;
/// The pause after each message; keeps a node below its quota at the others.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a node looks who is connected and tells again what still waits.
const TICK: Duration = Duration::from_secs(2);

/// How many other validators this node is connected to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connected(Arc<AtomicUsize>);

impl Connected {
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Starts to tell and to listen.
pub(crate) fn start<E: Clock + Spawner + Metrics + CryptoRng>(
    context: &E,
    (sender, receiver): (impl Sender, impl Receiver),
    network: NetworkId,
    pool: Arc<Pool>,
) -> Connected {
    let connected = Connected::default();
    let listening = pool.clone();
    // Signature checks take a thread of their own, away from the engine's tasks.
    let listen = move |random| listen(random, receiver, network, listening);
    context.child("listen").dedicated().spawn(listen);
    let counter = connected.clone();
    context.child("tell").spawn(move |clock| tell(clock, sender, pool, counter));
    connected
}

async fn tell(clock: impl Clock, mut sender: impl Sender, pool: Arc<Pool>, connected: Connected) {
    let mut arrivals = pool.arrivals();
    let mut tick = clock.current() + TICK;
    loop {
        select! {
            () = arrivals.changed() => {},
            () = clock.sleep_until(tick) => {},
        }
        if clock.current() >= tick {
            tick = clock.current() + TICK;
            let checked = sender.check(Recipients::All);
            let count = checked.map_or(0, |checked| checked.recipients().len());
            connected.0.store(count, Ordering::Relaxed);
            pool.tell_again();
        }
        loop {
            let untold = pool.untold(GATHERED_BYTES);
            if untold.is_empty() {
                break;
            }
            let message = borsh::to_vec(&untold).expect("writing to memory cannot fail");
            sender.send(Recipients::All, IoBuf::from(message), false);
            clock.sleep(PAUSE).await;
        }
    }
}

async fn listen(
    mut random: impl CryptoRng,
    mut receiver: impl Receiver,
    network: NetworkId,
    pool: Arc<Pool>,
) {
    while let Ok((peer, message)) = receiver.recv().await {
        let bytes = message.as_ref();
        if bytes.len() > MESSAGE_BYTES_MAX {
            debug!(%peer, "A message of transactions is too large");
            continue;
        }
        let Ok(transactions) = borsh::from_slice::<Vec<Transaction>>(bytes) else {
            debug!(%peer, "A message of transactions is malformed");
            continue;
        };
        hear(&pool, network, transactions, &mut random);
    }
}

/// Takes transactions from another node; refusals are their own submitter's business. Their
/// signatures are checked together, and only if one of them does not hold, one by one.
fn hear(
    pool: &Pool,
    network: NetworkId,
    mut transactions: Vec<Transaction>,
    random: &mut impl CryptoRng,
) {
    let mut batch = Batch::default();
    transactions.retain(|transaction| {
        pool.admits(&transaction.id(), transaction, 0).is_ok()
            && transaction.check_in(network, &mut batch).is_ok()
    });
    if !batch.all_hold(random) {
        transactions.retain(|transaction| transaction.check(network).is_ok());
    }
    for transaction in transactions {
        let _ = pool.insert(transaction.id(), transaction, Origin::Elsewhere);
    }
}
