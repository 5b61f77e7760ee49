//! Validators of one simulated network, with a client at each that never gives up.

use crate::{
    client::{Ledger, ReceiptError, Stopped, SubmitError},
    engine::{self, Identity, Network},
    fixture, node,
    orchestrator::Hooks,
    timing::Timing,
};
use aegle_ledger::{Genesis, Receipt, Transaction, TxId};
use aegle_model::SigningKey;
use commonware_cryptography::ed25519;
use commonware_glue::simulate::{
    engine::{EngineDefinition, InitContext},
    processed::ProcessedHeight,
    reporter::MonitorReporter,
};
use commonware_macros::select;
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _, deterministic};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How many transactions each validator's client submits.
pub(super) const PER_CLIENT: u64 = 20;

/// What the clients were told is final, over all restarts.
pub(super) type Acknowledged = Arc<Mutex<BTreeSet<TxId>>>;

/// A network to simulate.
#[derive(Clone)]
pub(super) struct Cluster {
    genesis: Genesis,
    keys: Vec<SigningKey>,
    acknowledged: Acknowledged,
    /// Whether somebody had state and not all of the blocks behind it.
    pub(super) transferred: Arc<AtomicBool>,
}

/// What the simulation sees of a running validator.
pub(super) struct Validator {
    pub(super) ledger: Ledger,
    pub(super) acknowledged: Acknowledged,
    pub(super) submitted: usize,
}

impl Cluster {
    pub(super) fn new(size: u8) -> Self {
        let keys = fixture::keys(size);
        let genesis = fixture::genesis(&keys);
        Self { genesis, keys, acknowledged: Acknowledged::default(), transferred: Arc::default() }
    }

    /// Submits the transactions of `author`, one after the other; ends with the validator.
    async fn client(self, clock: deterministic::Context, ledger: Ledger, author: usize) {
        for number in 0..PER_CLIENT {
            let transaction = fixture::enrol(&self.genesis, &self.keys[author], number, 50_000);
            let receipt = insist(&clock, &ledger, &transaction).await;
            let Ok(receipt) = receipt else { return };
            receipt.verify(&self.genesis).unwrap();
            self.acknowledged.lock().unwrap().insert(transaction.id());
        }
    }
}

/// Submits a transaction again and again until its receipt is there.
async fn insist(
    clock: &deterministic::Context,
    ledger: &Ledger,
    transaction: &Transaction,
) -> Result<Receipt, Stopped> {
    loop {
        match ledger.submit(transaction.clone()).await {
            Ok(_) | Err(SubmitError::Waiting(_) | SubmitError::Final(_)) => {}
            Err(SubmitError::Stopped(stopped)) => return Err(stopped),
            Err(error) => panic!("{error}"),
        }
        let receipt = select! {
            receipt = ledger.receipt(transaction.id()) => receipt,
            () = clock.sleep(Duration::from_secs(20)) => continue,
        };
        match receipt {
            Ok(receipt) => return Ok(receipt),
            Err(ReceiptError::Stopped(stopped)) => return Err(stopped),
            Err(error) => panic!("{error}"),
        }
    }
}

impl EngineDefinition for Cluster {
    type PublicKey = ed25519::PublicKey;
    type Engine = Handle<()>;
    type State = Validator;

    fn participants(&self) -> Vec<ed25519::PublicKey> {
        self.keys.iter().map(|key| node::validator(&key.public()).unwrap()).collect()
    }

    fn channels(&self) -> Vec<(u64, Quota)> {
        engine::channels()
    }

    fn max_message_size(&self) -> u32 {
        engine::message_bytes_max(self.keys.len())
    }

    async fn init(&self, init: InitContext<'_, ed25519::PublicKey>) -> (Handle<()>, Validator) {
        let InitContext { context, index, public_key, oracle, channels, monitor, delayed, .. } =
            init;
        let identity = node::identity(&self.genesis, &self.keys[index]);
        let identity = Identity { joins: delayed, ..identity };
        let network = Network {
            channels,
            blocker: oracle.control(public_key.clone()),
            peers: oracle.manager(),
            hooks: Hooks { track: Box::new(drop), may_vote: Box::new(|_, _| true) },
        };
        let observe = |state| MonitorReporter::new(public_key.clone(), monitor, state);
        let prefix = format!("validator-{index}");
        let timing = Timing::default();
        let engine = engine::start(
            context.child("engine"),
            &prefix,
            identity,
            timing,
            network,
            observe,
            |it| it,
        )
        .await;
        let (mut missing, transferred) = (engine.missing.clone(), self.transferred.clone());
        context.child("transfer").spawn(async move |_| {
            let some = missing.wait_for(|missing| *missing > 0).await.is_ok();
            transferred.fetch_or(some, Ordering::Relaxed);
        });
        let ledger = engine.ledger(self.genesis.clone(), String::new);
        let (cluster, client) = (self.clone(), ledger.clone());
        context.child("client").spawn(move |clock| cluster.client(clock, client, index));
        let submitted = self.keys.len() * usize::try_from(PER_CLIENT).unwrap();
        let validator = Validator { ledger, acknowledged: self.acknowledged.clone(), submitted };
        (engine.handle, validator)
    }

    fn start(engine: Handle<()>) -> Handle<()> {
        engine
    }
}

impl ProcessedHeight for Validator {
    async fn processed_height(&self) -> u64 {
        self.ledger.status().height
    }
}
