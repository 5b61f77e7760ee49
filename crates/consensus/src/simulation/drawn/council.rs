//! Who the centres of a plan are on the ledger, and what the honest ones propose and vote, so that the
//! plan's changes take effect one after the other.

use super::{
    history::History,
    plan::{Change, Plan},
};
use aegle_ledger::{Amendment, Body, Centre, Genesis, Member, Propose, Vote};
use aegle_model::{CentreId, Hash, Name, SigningKey};

/// How long one member after the other has the time to propose, in milliseconds.
const TURN: u64 = 2_000;

/// Where a centre stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    /// It is no member yet.
    NotYet,
    /// Its key is this node's.
    At(usize),
    /// It is no member any more.
    Left,
}

/// The centres and nodes of a plan.
pub(super) struct Council {
    genesis: Genesis,
    keys: Vec<SigningKey>,
    changes: Vec<(u64, Change)>,
}

impl Council {
    pub(super) fn new(plan: &Plan, genesis: &Genesis, keys: &[SigningKey]) -> Self {
        Self { genesis: genesis.clone(), keys: keys.to_vec(), changes: plan.changes.clone() }
    }

    /// The centre whose first node this is.
    pub(super) fn id(&self, first: usize) -> CentreId {
        Centre::id_of(&self.keys[first].public())
    }

    /// Where the centre with this first node stands at the end of `history`.
    pub(super) fn home(&self, history: &History, first: usize) -> Home {
        let Some(record) = history.centre(self.id(first)) else { return Home::NotYet };
        let node = self.keys.iter().position(|key| key.public() == record.centre.key);
        match record.left {
            Some(_) => Home::Left,
            None => Home::At(node.expect("only nodes of the plan have keys")),
        }
    }

    /// Whether every change has taken effect.
    pub(super) fn is_through(&self, history: &History) -> bool {
        self.changes.iter().all(|(_, change)| self.is_in_effect(history, *change))
    }

    fn is_in_effect(&self, history: &History, change: Change) -> bool {
        match change {
            Change::Admit(node) => {
                let centre = self.id(node);
                history.centre(centre).is_some() && !history.network().newcomers.contains(&centre)
            }
            Change::Remove(centre) => self.home(history, centre) == Home::Left,
            // Another one may have followed.
            Change::Rotate(centre, node) => match self.home(history, centre) {
                Home::NotYet => false,
                Home::Left => true,
                Home::At(now) => now >= node,
            },
        }
    }

    /// What the member whose key is this node's has to say, if it has a vote.
    pub(super) fn word(
        &self,
        history: &History,
        node: usize,
        now: u64,
    ) -> Option<(CentreId, Body)> {
        let (voters, key) = (history.network().voters(), self.keys[node].public());
        let has_key =
            |centre: &CentreId| history.centre(*centre).is_some_and(|it| it.centre.key == key);
        let place = voters.iter().position(has_key)?;
        let (own, governance) = (voters[place], history.governance());
        let unheard = governance.open.iter().find(|id| {
            let proposal = history.proposal(id);
            !proposal.agreed.contains(&own) && !proposal.against.contains(&own)
        });
        if let Some(proposal) = unheard {
            return Some((own, Body::Vote(Vote { proposal: *proposal, agree: true })));
        }
        let (time, change) =
            self.changes.iter().find(|(_, change)| !self.is_in_effect(history, *change))?;
        let change = self.amendment(*change);
        let mut proposed = governance.open.iter().chain(&governance.agreed);
        let is_proposed = proposed.any(|id| history.proposal(id).change == change);
        let has_turn = now / TURN % voters.len() as u64 == place as u64;
        let may = *time <= now && !is_proposed && has_turn;
        may.then(|| (own, Body::Propose(Box::new(Propose { change }))))
    }

    fn amendment(&self, change: Change) -> Amendment {
        match change {
            Change::Admit(node) => Amendment::Admit(self.card(node, node)),
            Change::Remove(centre) => Amendment::Remove(self.id(centre)),
            Change::Rotate(centre, node) => Amendment::Rotate(self.card(centre, node)),
        }
    }

    /// The card of the centre with this first node, with the key of another.
    fn card(&self, first: usize, node: usize) -> Member {
        let code = match self.genesis.centres.get(first) {
            Some(founder) => founder.code.clone(),
            None => Name::new(format!("N{first}")).expect("a letter and digits are a name"),
        };
        let key = self.keys[node].public();
        let centre = Centre { id: self.id(first), code, key, tls: Hash::ZERO, seal: [4; 65] };
        Member { centre, address: "node.example:4000".to_owned() }
    }
}
