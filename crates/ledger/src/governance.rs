//! What members decide together: who is a member, with which keys, and under which parameters.
//!
//! A member proposes a [`Amendment`]; when more than two thirds of the members agreed it is agreed, and
//! it takes effect with the last block of the epoch. A centre that is admitted is a member from
//! then on and follows the chain; it votes from the epoch after.

use crate::{Centre, Certificate, TxId};
use aegle_access::Policy;
use aegle_model::{Canonical, CentreId, PublicKey};
use borsh::{BorshDeserialize, BorshSerialize};

/// The most members that a network takes by vote.
pub const MEMBERS_MAX: usize = 24;
/// The most bytes of a node's address.
pub const ADDRESS_BYTES_MAX: usize = 255;
/// The most proposals that one member may have open.
pub(crate) const OPEN_PER_MEMBER: usize = 4;
/// How many closed proposals the state remembers.
pub(crate) const CLOSED_KEPT: usize = 64;

/// A centre with the address at which its node listens for the others.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Member {
    /// Its public card.
    pub centre: Centre,
    /// `host:port`.
    pub address: String,
}

impl Member {
    /// Whether the address looks like `host:port`.
    pub(crate) fn is_reachable(&self) -> bool {
        let port = self.address.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        self.address.len() <= ADDRESS_BYTES_MAX
            && self.address.bytes().all(|byte| byte.is_ascii_graphic())
            && port.is_some_and(|(_, port)| port.parse::<u16>().is_ok())
    }
}

/// What can be proposed. Append only.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Amendment {
    /// A centre becomes a member.
    Admit(Member),
    /// A member leaves.
    Remove(CentreId),
    /// A member takes new keys, and the address that stands with them.
    Rotate(Member),
    /// The network's policy becomes this one.
    Policy(Policy),
    /// Blocks from a height on follow another version of the protocol.
    Protocol(Switch),
}

/// From which height on a version of the protocol holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Switch {
    /// The version.
    pub version: u16,
    /// The first height.
    pub height: u64,
}

impl Canonical for Amendment {
    const NAME: &'static str = "amendment";
}

impl Amendment {
    /// The change in a sentence; `code` says what people call a member.
    pub fn sentence(&self, code: impl Fn(CentreId) -> String) -> String {
        match self {
            Self::Admit(Member { centre, address }) => format!(
                "Admit the centre {} with the node key {} at {address}.",
                centre.code, centre.key
            ),
            Self::Remove(centre) => format!("Remove the centre {}.", code(*centre)),
            Self::Rotate(Member { centre, address }) => format!(
                "Give the centre {} the node key {} at {address} and the other keys of its new card.",
                code(centre.id),
                centre.key
            ),
            Self::Policy(Policy { emergency: true }) => {
                "Allow professionals to read in an emergency whatever the rules say.".to_owned()
            }
            Self::Policy(Policy { emergency: false }) => {
                "Let the rules hold in emergencies, too.".to_owned()
            }
            Self::Protocol(Switch { version, height }) => {
                format!("Switch to version {version} of the protocol at height {height}.")
            }
        }
    }
}

/// A member proposes a change, and agrees with it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Propose {
    /// What to change.
    pub change: Amendment,
}

/// A member says what it thinks of a proposal. The last word counts, while the proposal is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Vote {
    /// The transaction that proposed it.
    pub proposal: TxId,
    /// Whether the author agrees. A proposer that no longer does withdraws.
    pub agree: bool,
}

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Stage {
    /// Members may vote.
    Open,
    /// Takes effect with the last block of its epoch.
    Agreed,
    /// In effect since this height.
    Done(u64),
    /// Too many were against it.
    Declined,
    /// Its proposer took it back, or is no longer a member.
    Withdrawn,
    /// Agreed, and no longer possible when it should have taken effect.
    Lapsed,
}

/// A proposal and what members think of it.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ProposalRecord {
    /// What to change.
    pub change: Amendment,
    /// Who proposed it.
    pub by: CentreId,
    /// The height at which it was proposed.
    pub height: u64,
    /// Who agrees.
    pub agreed: Vec<CentreId>,
    /// Who is against it.
    pub against: Vec<CentreId>,
    /// Where it stands.
    pub stage: Stage,
}

impl ProposalRecord {
    /// Notes what `member` thinks; it changes its mind as often as it likes.
    pub(crate) fn note(&mut self, member: CentreId, agree: bool) {
        self.agreed.retain(|other| *other != member);
        self.against.retain(|other| *other != member);
        let side = if agree { &mut self.agreed } else { &mut self.against };
        side.push(member);
        if !agree && member == self.by {
            self.stage = Stage::Withdrawn;
        }
    }

    /// Counts again, among those who have a vote now.
    pub(crate) fn count(&mut self, voters: &[CentreId]) {
        if self.stage != Stage::Open {
            return;
        }
        let heard = |side: &[CentreId]| side.iter().filter(|it| voters.contains(it)).count();
        let needed = Certificate::quorum(voters.len());
        if heard(&self.agreed) >= needed {
            self.stage = Stage::Agreed;
        } else if voters.len() - heard(&self.against) < needed {
            self.stage = Stage::Declined;
        }
    }
}

/// What is being decided, and which epochs began with other validators.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GovernanceRecord {
    /// Open proposals, oldest first.
    pub open: Vec<TxId>,
    /// Agreed ones, in the order in which they take effect.
    pub agreed: Vec<TxId>,
    /// The last closed ones, oldest first.
    pub closed: Vec<TxId>,
    /// The epochs that began with other validators than the one before.
    pub handovers: Vec<u64>,
}

impl GovernanceRecord {
    /// The epoch since which the validators of `epoch` are in force.
    pub fn since(&self, epoch: u64) -> u64 {
        self.handovers.iter().copied().rfind(|begun| *begun <= epoch).unwrap_or(0)
    }

    pub(crate) fn close(&mut self, proposal: TxId) {
        self.closed.push(proposal);
        if self.closed.len() > CLOSED_KEPT {
            self.closed.remove(0);
        }
    }
}

/// The keys that vote in an epoch, sorted.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct ValidatorsRecord(pub Vec<PublicKey>);

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_model::{Hash, Name};

    #[test]
    fn proposals_read_as_plain_sentences() {
        let centre = Centre {
            id: CentreId::from_array([1; 16]),
            code: Name::new("ZMC").unwrap(),
            key: PublicKey::from_array([2; 32]),
            tls: Hash::ZERO,
            seal: [4; 65],
        };
        let member = Member { centre, address: "node.zmc.example:4000".to_owned() };
        let sentences: Vec<String> = [
            Amendment::Admit(member.clone()),
            Amendment::Remove(member.centre.id),
            Amendment::Rotate(member),
            Amendment::Policy(Policy { emergency: true }),
            Amendment::Policy(Policy { emergency: false }),
            Amendment::Protocol(Switch { version: 2, height: 900 }),
        ]
        .iter()
        .map(|change| change.sentence(|_| "ZMC".to_owned()))
        .collect();
        let key = "02".repeat(32);
        assert_eq!(
            sentences,
            [
                format!("Admit the centre ZMC with the node key {key} at node.zmc.example:4000."),
                "Remove the centre ZMC.".to_owned(),
                format!(
                    "Give the centre ZMC the node key {key} at node.zmc.example:4000 and the other keys of its new card."
                ),
                "Allow professionals to read in an emergency whatever the rules say.".to_owned(),
                "Let the rules hold in emergencies, too.".to_owned(),
                "Switch to version 2 of the protocol at height 900.".to_owned(),
            ]
        );
    }
}
