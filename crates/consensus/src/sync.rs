//! State transfer: a node with an empty folder in a network that has run fetches the state as of a
//! recent block instead of executing all of history.
//!
//! What it starts from is the newest of what several peers prove to be final, so that it is not old
//! when at least one of them is honest; every piece of state is checked against the root that this
//! block commits to under the votes for it. Nothing that a peer says is believed.

use crate::{
    certificate,
    engine::{Identity, Runtime, Scheme},
    state::{self, Databases},
    transfer::{Attached, Judge, Peers, Piece, Question, Verdict},
};
use aegle_ledger::{Anchor, Genesis};
use aegle_model::Canonical as _;
use bytes::Bytes;
use commonware_codec::Decode as _;
use commonware_consensus::simplex::types::Finalization;
use commonware_cryptography::{Signer as _, ed25519::PublicKey, sha256};
use commonware_glue::stateful::db::AttachableResolverSet;
use commonware_macros::select;
use commonware_storage::{
    mmr,
    qmdb::sync::{Feedback, Request, Response, Source, source},
};
use commonware_utils::{channel::mpsc, vec::NonEmptyVec};
use futures::{StreamExt as _, stream::FuturesUnordered};
use std::{future::ready, time::Duration};
use tracing::{info, warn};

/// How long peers may take until enough of them have said where the chain ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where questions that no peer in particular is asked are counted.
const ANYBODY: u32 = u32::MAX;

/// Where a state transfer starts.
pub(crate) struct Beginning {
    /// What proves the block.
    pub(crate) anchor: Anchor,
    /// The votes for it, as the engine has them.
    pub(crate) finalization: Finalization<Scheme, sha256::Digest>,
}

/// The newest final block that enough founders prove; none when too few answer, and then the node
/// executes the chain from its beginning.
pub(crate) async fn beginning<E: Runtime>(
    context: &E,
    peers: &Peers,
    identity: &Identity,
) -> Option<Beginning> {
    let founders: Vec<PublicKey> = identity
        .genesis
        .validators()
        .iter()
        .filter_map(|key| crate::node::validator(key).ok())
        .filter(|key| *key != identity.key.public_key())
        .collect();
    // One more than may lie.
    let enough = identity.genesis.centres.len().saturating_sub(1) / 3 + 1;
    let mut asked: FuturesUnordered<_> = (0..)
        .zip(founders)
        .map(|(number, founder)| {
            tip(peers, &identity.genesis, Question::Tip(number), Some(NonEmptyVec::new(founder)))
        })
        .collect();
    let mut newest: Option<Anchor> = None;
    let mut heard = 0;
    let deadline = context.current() + PATIENCE;
    while heard < enough {
        select! {
            anchor = asked.next() => {
                let anchor = anchor?;
                heard += 1;
                let height = anchor.certified().height;
                if newest.as_ref().is_none_or(|newest| newest.certified().height < height) {
                    newest = Some(anchor);
                }
            },
            () = context.sleep_until(deadline) => {
                warn!(heard, enough, "Too few members say where the chain ends; the node executes all of it");
                return None;
            },
        }
    }
    let anchor = newest?;
    let (header, genesis) = (anchor.certified(), &identity.genesis);
    let validators = anchor.validators_in(genesis, header.epoch);
    let finalization =
        certificate::revert(&anchor.certificate, &header.digest(), validators.len())?;
    info!(height = header.height, "Fetches the state from the other nodes");
    Some(Beginning { anchor, finalization })
}

/// An anchor that holds, from anybody.
pub(crate) async fn any_tip(peers: &Peers, genesis: &Genesis) -> Anchor {
    tip(peers, genesis, Question::Tip(ANYBODY), None).await
}

async fn tip(
    peers: &Peers,
    genesis: &Genesis,
    question: Question,
    targets: Option<NonEmptyVec<PublicKey>>,
) -> Anchor {
    let genesis = genesis.clone();
    let open = move |bytes: &[u8]| {
        Anchor::from_bytes(bytes).ok().filter(|anchor| anchor.verify(&genesis).is_ok())
    };
    peers.ask(question, targets, open).await
}

/// Pieces of state from peers, for the engine that puts them together.
pub(crate) struct StateSource<E: Runtime> {
    pub(crate) peers: Peers,
    pub(crate) attached: Attached<E>,
}

impl<E: Runtime> Clone for StateSource<E> {
    fn clone(&self) -> Self {
        Self { peers: self.peers.clone(), attached: self.attached.clone() }
    }
}

/// The engine stops, so nobody answers any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody is left to ask for state")]
pub(crate) struct Unanswered;

impl<E: Runtime> Source for StateSource<E> {
    type Family = mmr::Family;
    type Digest = sha256::Digest;
    type Op = state::Operation;
    type Error = Unanswered;

    async fn serve(&self, request: Request<mmr::Family>) -> source::Result<Self> {
        let (pieces, mut received) = mpsc::channel(1);
        let judge = Box::new(Pieces { request, pieces });
        let asked = self.peers.ask_until(Question::State(request), None, judge);
        let (piece, verdict) = received.recv().await.ok_or(Unanswered)?;
        asked.leave();
        Ok((piece, Some(Feedback::new(verdict, received))))
    }
}

impl<E: Runtime> AttachableResolverSet<Databases<E>> for StateSource<E> {
    fn attach_databases(&self, databases: Databases<E>) -> impl Future<Output = ()> + Send {
        self.attached.set(databases.shared().clone());
        ready(())
    }
}

/// Hands pieces to the engine, which judges them.
struct Pieces {
    request: Request<mmr::Family>,
    pieces: mpsc::Sender<(Piece, Verdict)>,
}

impl Judge for Pieces {
    fn judge(&mut self, answer: Bytes, verdict: Verdict) {
        let most = usize::try_from(self.request.max_ops().get()).unwrap_or(usize::MAX);
        match (Piece::decode_cfg(answer, &(most, ((), ()))), self.request) {
            (Ok(piece @ Response::Operations { .. }), Request::Operations { .. })
            | (Ok(piece @ Response::Boundary { .. }), Request::Boundary { .. }) => {
                // Without a verdict nobody is asked again; the engine no longer waits.
                let _ = self.pieces.try_send((piece, verdict));
            }
            _ => {
                let _ = verdict.send(false);
            }
        }
    }

    fn is_gone(&self) -> bool {
        self.pieces.is_closed()
    }
}
