//! Proposals, votes, and what takes effect when an epoch ends.

use super::{Applied, Halt, work::Work};
use crate::Centre;
use crate::governance::{
    Amendment, GovernanceRecord, MEMBERS_MAX, Member, OPEN_PER_MEMBER, ProposalRecord, Propose,
    Stage, Switch, ValidatorsRecord, Vote,
};
use crate::outcome::{Outcome, Rejection};
use crate::state::{CentreRecord, NetworkRecord, keys};
use crate::transaction::TxId;
use aegle_model::CentreId;

impl Work<'_> {
    pub(super) fn propose(&mut self, author: CentreId, id: TxId, propose: &Propose) -> Applied {
        let network = self.network()?;
        if !network.voters().contains(&author) {
            return Ok(Err(Rejection::NoVote));
        }
        if !self.is_possible(&network, &propose.change)? {
            return Ok(Err(Rejection::Impossible));
        }
        let mut governance = self.governance()?;
        let mut open = 0;
        for other in &governance.open {
            open += usize::from(self.proposal(other)?.is_some_and(|other| other.by == author));
        }
        if open >= OPEN_PER_MEMBER {
            return Ok(Err(Rejection::TooManyProposals));
        }
        let mut proposal = ProposalRecord {
            change: propose.change.clone(),
            by: author,
            height: self.height(),
            agreed: Vec::new(),
            against: Vec::new(),
            stage: Stage::Open,
        };
        governance.open.push(id);
        proposal.note(author, true);
        self.settle(&network, governance, id, proposal);
        Ok(Ok(Outcome::Done))
    }

    pub(super) fn vote(&mut self, author: CentreId, vote: &Vote) -> Applied {
        let network = self.network()?;
        if !network.voters().contains(&author) {
            return Ok(Err(Rejection::NoVote));
        }
        let open = self.proposal(&vote.proposal)?.filter(|it| it.stage == Stage::Open);
        let Some(mut proposal) = open else { return Ok(Err(Rejection::NotOpen)) };
        let governance = self.governance()?;
        proposal.note(author, vote.agree);
        self.settle(&network, governance, vote.proposal, proposal);
        Ok(Ok(Outcome::Done))
    }

    /// Counts the votes for a proposal and puts it where it belongs.
    fn settle(
        &mut self,
        network: &NetworkRecord,
        mut governance: GovernanceRecord,
        id: TxId,
        mut proposal: ProposalRecord,
    ) {
        proposal.count(&network.voters());
        if proposal.stage != Stage::Open {
            governance.open.retain(|other| *other != id);
        }
        match proposal.stage {
            Stage::Open => {}
            Stage::Agreed => governance.agreed.push(id),
            _ => governance.close(id),
        }
        self.put(keys::governance(), &governance);
        self.put(keys::proposal(&id), &proposal);
    }

    /// Whether a change makes sense as things stand.
    fn is_possible(&mut self, network: &NetworkRecord, change: &Amendment) -> Result<bool, Halt> {
        Ok(match change {
            Amendment::Admit(member) => {
                let known = self.get::<CentreRecord>(keys::centre(member.centre.id))?;
                let same = Centre::id_of(&member.centre.key) == member.centre.id;
                let may_come = known.map_or(same, |known| known.left.is_some());
                may_come
                    && network.centres.len() < MEMBERS_MAX
                    && self.is_distinct(network, member)?
            }
            Amendment::Remove(centre) => {
                network.centres.contains(centre) && network.voters() != [*centre]
            }
            Amendment::Rotate(member) => {
                network.centres.contains(&member.centre.id) && self.is_distinct(network, member)?
            }
            Amendment::Policy(policy) => *policy != network.policy,
            Amendment::Protocol(Switch { version, height }) => {
                Some(*version) == network.protocol().checked_add(1) && *height > self.height()
            }
        })
    }

    /// Whether a card has a sound key, shares neither key nor code with another member, and can be
    /// reached. A key that is none would stop the epoch in which it votes.
    fn is_distinct(&mut self, network: &NetworkRecord, member: &Member) -> Result<bool, Halt> {
        let Member { centre, .. } = member;
        self.want(network.centres.iter().map(|centre| keys::centre(*centre)));
        let mut distinct = member.is_reachable() && centre.key.is_sound();
        for other in network.centres.iter().filter(|other| **other != centre.id) {
            let other = self.centre(*other)?.map(|other| other.centre);
            distinct &=
                other.is_none_or(|other| other.key != centre.key && other.code != centre.code);
        }
        Ok(distinct)
    }

    /// What takes effect with the last block of an epoch: those admitted in the last one vote from
    /// now on, and what was agreed in this one holds.
    pub(super) fn turn(&mut self, mut network: NetworkRecord) -> Result<NetworkRecord, Halt> {
        let mut governance = self.governance()?;
        let quiet = network.newcomers.is_empty() && network.leavers.is_empty();
        if quiet && governance.agreed.is_empty() {
            return Ok(network);
        }
        self.let_go(&mut network)?;
        self.want(network.centres.iter().map(|centre| keys::centre(*centre)));
        self.want(governance.agreed.iter().map(keys::proposal));
        network.newcomers.clear();
        for id in std::mem::take(&mut governance.agreed) {
            let Some(mut proposal) = self.proposal(&id)? else { continue };
            let possible = self.is_possible(&network, &proposal.change)?;
            if possible {
                self.take_effect(&mut network, &proposal.change)?;
            }
            proposal.stage = if possible { Stage::Done(self.height()) } else { Stage::Lapsed };
            self.put(keys::proposal(&id), &proposal);
            governance.close(id);
        }
        self.recount(&network, &mut governance)?;
        self.hand_over(&mut network, &mut governance)?;
        self.put(keys::governance(), &governance);
        self.put(keys::network(), &network);
        Ok(network)
    }

    fn take_effect(&mut self, network: &mut NetworkRecord, change: &Amendment) -> Result<(), Halt> {
        match change {
            Amendment::Admit(member) => {
                let id = member.centre.id;
                self.put(keys::centre(id), &CentreRecord::new(member.clone()));
                network.centres.push(id);
                network.newcomers.push(id);
                network.leavers.retain(|other| *other != id);
            }
            Amendment::Remove(centre) => {
                let Some(mut record) = self.centre(*centre)? else { return Ok(()) };
                record.left = Some(self.height());
                record.catalogue = None;
                self.put(keys::centre(*centre), &record);
                network.centres.retain(|other| other != centre);
                network.newcomers.retain(|other| other != centre);
                network.leavers.push(*centre);
            }
            Amendment::Rotate(member) => {
                let Some(old) = self.centre(member.centre.id)? else { return Ok(()) };
                let new =
                    CentreRecord { catalogue: old.catalogue, ..CentreRecord::new(member.clone()) };
                self.put(keys::centre(member.centre.id), &new);
            }
            Amendment::Policy(policy) => network.policy = *policy,
            Amendment::Protocol(switch) => network.switches.push(*switch),
        }
        Ok(())
    }

    /// Forgets those who left two epochs ago.
    fn let_go(&mut self, network: &mut NetworkRecord) -> Result<(), Halt> {
        self.want(network.leavers.iter().map(|centre| keys::centre(*centre)));
        let now = network.epochs.of(self.height());
        for centre in std::mem::take(&mut network.leavers) {
            let left = self.get::<CentreRecord>(keys::centre(centre))?.and_then(|it| it.left);
            if left.is_some_and(|left| now - network.epochs.of(left) < 2) {
                network.leavers.push(centre);
            }
        }
        Ok(())
    }

    /// Open proposals among the members that there are now.
    fn recount(
        &mut self,
        network: &NetworkRecord,
        governance: &mut GovernanceRecord,
    ) -> Result<(), Halt> {
        self.want(governance.open.iter().map(keys::proposal));
        for id in std::mem::take(&mut governance.open) {
            let Some(mut proposal) = self.proposal(&id)? else { continue };
            if network.centres.contains(&proposal.by) {
                proposal.count(&network.voters());
            } else {
                proposal.stage = Stage::Withdrawn;
            }
            match proposal.stage {
                Stage::Open => governance.open.push(id),
                Stage::Agreed => governance.agreed.push(id),
                _ => governance.close(id),
            }
            self.put(keys::proposal(&id), &proposal);
        }
        Ok(())
    }

    /// Names the validators of the next epoch, and remembers when they are others.
    fn hand_over(
        &mut self,
        network: &mut NetworkRecord,
        governance: &mut GovernanceRecord,
    ) -> Result<(), Halt> {
        let mut validators = Vec::new();
        for centre in network.voters() {
            validators.extend(self.centre(centre)?.map(|record| record.centre.key));
        }
        validators.sort_unstable();
        if validators != network.validators {
            let epoch = network.epochs.of(self.height()) + 1;
            self.put(keys::validators(epoch), &ValidatorsRecord(validators.clone()));
            governance.handovers.push(epoch);
            network.validators = validators;
        }
        Ok(())
    }

    fn governance(&mut self) -> Result<GovernanceRecord, Halt> {
        Ok(self.get(keys::governance())?.unwrap_or_default())
    }

    fn proposal(&mut self, id: &TxId) -> Result<Option<ProposalRecord>, Halt> {
        self.get(keys::proposal(id))
    }
}
