//! Who takes part: in the last blocks, as their certificates tell, and how far each member's node is, as
//! it says itself. What shows an operator that a member is away, or slow.

use crate::{Centre, Error};
use aegle_consensus::Members;
use aegle_ledger::{Anchor, Certificate};
use aegle_model::{CentreId, Name};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many of the last blocks are looked at.
const BLOCKS: u64 = 64;
/// How long what the others said is good for: whoever watches asks nobody more often.
const ASKED_EVERY: Duration = Duration::from_secs(5);
/// How long a node may take to say how far it is.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// How the last blocks came about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rounds {
    /// Of how many of the last blocks this tells.
    pub blocks: u32,
    /// How many rounds before them ended without a block.
    pub changes: u32,
    /// The members: those that vote in the order of their keys, then those that only follow yet.
    pub members: Vec<Attendance>,
}

/// What one member did for the last blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendance {
    /// The member's code.
    pub centre: Name,
    /// Whether it votes; one that was just admitted only follows.
    pub votes: bool,
    /// For how many blocks its vote is in the certificate. A certificate holds the votes that came
    /// first and no more than a quorum needs, so that a healthy member lacks in some.
    pub signed: u32,
    /// How often it was its turn to propose and nothing came of it.
    pub missed: u32,
    /// How many blocks it was behind this node when it was asked; none when it did not say.
    pub behind: Option<u64>,
}

/// What the others said of late, and when.
#[derive(Default)]
pub(crate) struct Asked(tokio::sync::Mutex<Option<(Instant, BTreeMap<CentreId, u64>)>>);

impl Centre {
    /// How the last blocks of this epoch came about, and how far every member is.
    pub async fn rounds(&self) -> Result<Rounds, Error> {
        let parts = self.parts();
        let (height, members) = (parts.ledger.status().height, self.members());
        let mut certificates = Vec::new();
        for height in height.saturating_sub(BLOCKS - 1).max(1)..=height {
            let anchor = parts.ledger.anchor(height).await.map_err(Error::internal)?;
            let anchor = anchor.filter(|it| certified(it) && it.header.epoch == members.epoch);
            certificates.extend(anchor.map(|anchor| anchor.certificate));
        }
        let behind = self.behind(&members).await;
        let all = in_order(&members, &behind);
        let blocks = u32::try_from(certificates.len()).unwrap_or(u32::MAX);
        let members = count(all, &certificates);
        let changes = members.iter().map(|member| member.missed).sum();
        Ok(Rounds { blocks, changes, members })
    }

    /// How far this node is: what it answers when another one asks.
    pub fn height(&self) -> u64 {
        self.parts().ledger.status().height
    }

    /// How many blocks each member is behind this node, of those that say so.
    async fn behind(&self, members: &Members) -> BTreeMap<CentreId, u64> {
        // Held while asking: whoever comes meanwhile hears the same.
        let mut known = self.0.asked.0.lock().await;
        if let Some((at, behind)) = &*known
            && at.elapsed() < ASKED_EVERY
        {
            return behind.clone();
        }
        let asked = members.centres.iter().map(async |member| {
            let height = if member.id == self.id() {
                self.height()
            } else {
                self.height_of(member.id).await?
            };
            Some((member.id, self.height().saturating_sub(height)))
        });
        let behind: BTreeMap<_, _> = join_all(asked).await.into_iter().flatten().collect();
        *known = Some((Instant::now(), behind.clone()));
        behind
    }

    /// How far another member's node says it is.
    async fn height_of(&self, member: CentreId) -> Option<u64> {
        let answer = self.parts().peers.call(member, "/ping", Vec::new(), ANSWER_WITHIN).await;
        Some(u64::from_le_bytes(answer.ok()?.try_into().ok()?))
    }
}

/// Only the block that was voted for tells who voted; those below it are final with it.
fn certified(anchor: &Anchor) -> bool {
    anchor.links.is_empty()
}

/// All members with nothing counted, those that vote first.
fn in_order(members: &Members, behind: &BTreeMap<CentreId, u64>) -> Vec<Attendance> {
    let votes = |key| members.validators.contains(key);
    let newcomers = members.centres.iter().filter(|centre| !votes(&centre.key));
    let all = members.voters().chain(newcomers);
    all.map(|centre| Attendance {
        centre: centre.code.clone(),
        votes: votes(&centre.key),
        signed: 0,
        missed: 0,
        behind: behind.get(&centre.id).copied(),
    })
    .collect()
}

fn count(mut all: Vec<Attendance>, certificates: &[Certificate]) -> Vec<Attendance> {
    let voters = all.iter().filter(|member| member.votes).count();
    let size = voters as u64;
    for certificate in certificates {
        for (position, member) in all.iter_mut().take(voters).enumerate() {
            member.signed += u32::from(certificate.signers.contains(position));
        }
        // Members propose in turn, one view each; a view that is no block's came to nothing. Of a
        // long outage the last turns say enough.
        let skipped = certificate.parent_view + 1..certificate.view;
        for view in skipped.rev().take(usize::try_from(BLOCKS).expect("small")) {
            let turn = certificate.epoch.wrapping_add(view) % size;
            all[usize::try_from(turn).expect("below the number of members")].missed += 1;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_model::Bits;

    fn certificate(view: u64, parent_view: u64, signers: &[usize]) -> Certificate {
        let signers: Bits = signers.iter().copied().collect();
        Certificate { epoch: 0, view, parent_view, signers, signatures: Vec::new() }
    }

    fn members(codes: &[&str], followers: &[&str]) -> Vec<Attendance> {
        let all = codes.iter().map(|code| (code, true));
        let all = all.chain(followers.iter().map(|code| (code, false)));
        all.map(|(code, votes)| Attendance {
            centre: Name::new(*code).unwrap(),
            votes,
            signed: 0,
            missed: 0,
            behind: None,
        })
        .collect()
    }

    #[test]
    fn a_member_that_is_away_signs_nothing_and_misses_its_turns() {
        let members = members(&["A", "B", "C", "D"], &["E"]);
        let votes = [0, 1, 2].as_slice();
        let certificates =
            [certificate(2, 1, votes), certificate(4, 2, votes), certificate(8, 6, votes)];
        let counted = count(members, &certificates);
        let told: Vec<_> = counted.iter().map(|one| (one.signed, one.missed)).collect();
        assert_eq!(told, [(3, 0), (3, 0), (3, 0), (0, 2), (0, 0)]);
    }

    #[test]
    fn an_outage_of_any_length_is_counted_in_bounded_time() {
        let counted = count(members(&["A", "B"], &[]), &[certificate(u64::MAX, 0, &[])]);
        assert_eq!(counted.iter().map(|one| one.missed).sum::<u32>(), 64);
    }
}
