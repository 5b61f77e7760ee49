//! Who took part in the last blocks: what shows an operator that a member is away, or slow.

use crate::{Centre, Error};
use aegle_ledger::{Anchor, Certificate};
use aegle_model::Name;

/// How many of the last blocks are looked at.
const BLOCKS: u64 = 64;

/// What one member did for the last blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attendance {
    /// The member's code.
    pub centre: Name,
    /// For how many blocks its vote is in the certificate. A certificate holds the votes that came
    /// first and no more than a quorum needs, so that a healthy member lacks in some.
    pub signed: u32,
    /// How often it was its turn to propose and nothing came of it.
    pub missed: u32,
}

impl Centre {
    /// The members that vote in this epoch, in the order of their keys, and of how many of its blocks
    /// they are told.
    pub async fn attendance(&self) -> Result<(u32, Vec<Attendance>), Error> {
        let parts = self.parts();
        let (height, members) = (parts.ledger.status().height, self.members());
        let mut certificates = Vec::new();
        for height in height.saturating_sub(BLOCKS - 1).max(1)..=height {
            let anchor = parts.ledger.anchor(height).await.map_err(Error::internal)?;
            let anchor = anchor.filter(|it| certified(it) && it.header.epoch == members.epoch);
            certificates.extend(anchor.map(|anchor| anchor.certificate));
        }
        let codes = members.voters().map(|centre| centre.code.clone());
        let blocks = u32::try_from(certificates.len()).unwrap_or(u32::MAX);
        Ok((blocks, count(codes, &certificates)))
    }
}

/// Only the block that was voted for tells who voted; those below it are final with it.
fn certified(anchor: &Anchor) -> bool {
    anchor.links.is_empty()
}

fn count(members: impl Iterator<Item = Name>, certificates: &[Certificate]) -> Vec<Attendance> {
    let mut all: Vec<_> =
        members.map(|centre| Attendance { centre, signed: 0, missed: 0 }).collect();
    let size = all.len() as u64;
    for certificate in certificates {
        for (position, member) in all.iter_mut().enumerate() {
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

    #[test]
    fn a_member_that_is_away_signs_nothing_and_misses_its_turns() {
        let members = ["A", "B", "C", "D"].map(|code| Name::new(code).unwrap());
        let votes = [0, 1, 2].as_slice();
        let certificates =
            [certificate(2, 1, votes), certificate(4, 2, votes), certificate(8, 6, votes)];
        let counted = count(members.into_iter(), &certificates);
        let told: Vec<_> = counted.iter().map(|one| (one.signed, one.missed)).collect();
        assert_eq!(told, [(3, 0), (3, 0), (3, 0), (0, 2)]);
    }

    #[test]
    fn an_outage_of_any_length_is_counted_in_bounded_time() {
        let members = ["A", "B"].map(|code| Name::new(code).unwrap());
        let counted = count(members.into_iter(), &[certificate(u64::MAX, 0, &[])]);
        assert_eq!(counted.iter().map(|one| one.missed).sum::<u32>(), 64);
    }
}
