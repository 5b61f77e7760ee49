//! Liars that have nothing of an engine but its key.

use super::{machine::Machine, plan::Lie, world::Outside};
use crate::{engine, node};
use aegle_ledger::Certificate;
use commonware_consensus::{
    simplex::mocks::{conflicter, impersonator, nuller, outdated},
    types::ViewDelta,
};
use commonware_cryptography::{Sha256, ed25519::PublicKey};
use commonware_p2p::{Receiver, Sender, utils::mux::Muxer};
use commonware_runtime::{Clock as _, Handle, Supervisor as _};
use commonware_utils::ordered::Set;
use std::{sync::Arc, time::Duration};

/// How often a liar looks whether an epoch has begun.
const LOOK: Duration = Duration::from_millis(50);

/// Lies on the channel of votes, epoch after epoch in which its key is one of the validators'.
pub(super) async fn lie<S, R>(
    machine: Machine,
    outside: Arc<Outside>,
    number: usize,
    (sender, receiver): (S, R),
) where
    S: Sender<PublicKey = PublicKey>,
    R: Receiver<PublicKey = PublicKey>,
{
    let (muxer, mut epochs) = Muxer::new(machine.child("muxer"), sender, receiver);
    muxer.start();
    let mut running: Option<(u64, Handle<()>)> = None;
    loop {
        let (epoch, validators) = outside.history.lock().unwrap().electorate();
        if running.as_ref().is_none_or(|(known, _)| *known != epoch) {
            if let Some((_, past)) = running.take() {
                past.abort();
            }
            let votes = epochs.register(epoch).await.expect("an epoch begins once");
            let mock = scheme(&outside, number, &validators)
                .map(|scheme| start(machine.child("mock"), outside.lie(number), scheme, votes));
            running = Some((epoch, mock.unwrap_or_else(|| Handle::ready(Ok(())))));
        }
        machine.sleep(LOOK).await;
    }
}

/// What the liar votes with among these validators, if it is one of them.
fn scheme(
    outside: &Outside,
    number: usize,
    validators: &[aegle_model::PublicKey],
) -> Option<engine::Scheme> {
    let key = node::identity(&outside.genesis, &outside.keys[number]).key;
    let domain = Certificate::namespace(outside.genesis.network());
    let keys = validators.iter().map(|key| node::validator(key).expect("a sound key"));
    engine::Scheme::signer(&domain, Set::from_iter_dedup(keys), key)
}

fn start(
    machine: Machine,
    lie: Option<Lie>,
    scheme: engine::Scheme,
    votes: (impl Sender, impl Receiver),
) -> Handle<()> {
    match lie {
        Some(Lie::Conflicter) => {
            let config = conflicter::Config { scheme };
            conflicter::Conflicter::<_, _, Sha256>::new(machine, config).start(votes)
        }
        Some(Lie::Nuller) => {
            let config = nuller::Config { scheme };
            nuller::Nuller::<_, _, Sha256>::new(machine, config).start(votes)
        }
        Some(Lie::Outdated) => {
            let config = outdated::Config { scheme, view_delta: ViewDelta::new(3) };
            outdated::Outdated::<_, _, Sha256>::new(machine, config).start(votes)
        }
        _ => {
            let config = impersonator::Config { scheme };
            impersonator::Impersonator::<_, _, Sha256>::new(machine, config).start(votes)
        }
    }
}
