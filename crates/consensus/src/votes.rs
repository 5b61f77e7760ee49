//! Votes for the last blocks of epochs that this node missed, fetched from anybody: nothing of the next
//! epoch proves what was final in the one before.

use crate::{
    engine::Runtime,
    transfer::{Peers, Question},
};
use aegle_ledger::{Certificate, Header};
use aegle_model::{Canonical as _, NetworkId, PublicKey};
use commonware_macros::select;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::mpsc;

/// How many are kept.
const KEPT: usize = 64;
/// How long peers may take; then whoever waits asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A block whose votes are wanted, with those whose votes they are.
pub(crate) struct Wanted {
    pub(crate) header: Header,
    pub(crate) validators: Vec<PublicKey>,
}

/// What was fetched, by height, and the way to ask for more. Clones share it.
#[derive(Clone)]
pub(crate) struct Ends {
    kept: Arc<Mutex<BTreeMap<u64, Certificate>>>,
    wanted: mpsc::Sender<Wanted>,
}

impl Ends {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Wanted>) {
        let (wanted, receiver) = mpsc::channel(1);
        (Self { kept: Arc::default(), wanted }, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Certificate>> {
        self.kept.lock().expect("no thread panics while it holds the votes")
    }

    /// The votes for a final block, if they were fetched.
    pub(crate) fn get(&self, header: &Header) -> Option<Certificate> {
        self.lock().get(&header.height).cloned()
    }

    /// Asks for votes. While others are being asked for, whoever wants these has to ask again.
    pub(crate) fn want(&self, wanted: Wanted) {
        let _ = self.wanted.try_send(wanted);
    }

    fn keep(&self, height: u64, certificate: Certificate) {
        let mut kept = self.lock();
        // What is needed still is asked for again.
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(height, certificate);
    }

    /// Fetches what is wanted, one after the other.
    pub(crate) async fn fetch<E: Runtime>(
        self,
        context: E,
        mut wanted: mpsc::Receiver<Wanted>,
        (peers, network): (Peers, NetworkId),
    ) {
        while let Some(wanted) = wanted.recv().await {
            let height = wanted.header.height;
            let open = move |answer: &[u8]| opened(answer, network, &wanted);
            select! {
                votes = peers.ask(Question::Votes(height), None, open) => self.keep(height, votes),
                () = context.sleep(PATIENCE) => {},
            }
        }
    }
}

/// The votes of an answer; none when they are not for this block or do not hold.
fn opened(answer: &[u8], network: NetworkId, wanted: &Wanted) -> Option<Certificate> {
    let votes = Certificate::from_bytes(answer).ok()?;
    let Wanted { header, validators } = wanted;
    let holds =
        votes.epoch == header.epoch && votes.verify(network, &header.digest(), validators).is_ok();
    holds.then_some(votes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_ledger::fixture::Network;

    #[test]
    fn only_votes_that_hold_for_the_block_are_taken() {
        let mut network = Network::new(4);
        network.commit(&[]);
        network.commit(&[]);
        let [one, other] = [1, 2].map(|height: usize| network.blocks[height].header.clone());
        let (id, validators) = (network.genesis.network(), network.validators(0));
        let wanted = Wanted { header: other.clone(), validators };
        let taken = |votes: &Certificate| opened(&votes.to_bytes(), id, &wanted).is_some();
        let votes = network.certificate(&other);
        assert!(taken(&votes));
        assert!(!taken(&network.certificate(&one)), "votes for another block");
        assert!(!taken(&Certificate { epoch: 1, ..votes.clone() }), "votes of another epoch");
        let mut few = votes.clone();
        few.signatures.pop();
        assert!(!taken(&few), "too few votes");
        assert!(opened(b"noise", id, &wanted).is_none());
    }
}
