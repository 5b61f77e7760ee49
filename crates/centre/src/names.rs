//! What people call centres, as the ledger has it: the members of now, and those who left.
//!
//! A code belongs to one member at a time and may be another's later. So it stands for the member that
//! has it now; a centre that left keeps its code only while nobody else has taken it, else its id
//! stands there.

use crate::{Centre, Emergency, Error, GrantedRule, LogView, Offer, PreviewPart, RuleChange, Seen};
use crate::{Changed, Fate, RestorePreview};
use aegle_consensus::Members;
use aegle_ledger::{CentreRecord, Linked, OpenedRequest, OpenedRule, PartDelivery, keys};
use aegle_model::{CentreId, Grantee, Name, Requester};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What people call centres.
#[derive(Debug, Clone)]
pub struct Names {
    members: Arc<Members>,
    left: BTreeMap<CentreId, Name>,
}

impl Names {
    /// The code by which people name a centre, such as `ZMC`; the id of one without.
    pub fn code(&self, centre: CentreId) -> String {
        let member = self.members.centre(centre).map(|member| &member.code);
        let named = member.or_else(|| self.left.get(&centre));
        named.map_or_else(|| centre.to_string(), ToString::to_string)
    }

    /// The member with this code.
    pub fn member(&self, code: &str) -> Option<CentreId> {
        let named = self.members.centres.iter().find(|centre| centre.code.as_str() == code);
        named.map(|centre| centre.id)
    }

    fn free(&self, code: &Name) -> bool {
        self.members.centres.iter().all(|centre| centre.code != *code)
    }
}

/// What speaks of centres.
pub trait Mentions {
    /// Notes every centre that it speaks of.
    fn mentions(&self, centres: &mut BTreeSet<CentreId>);
}

impl Centre {
    /// What people call the members.
    pub fn member_names(&self) -> Names {
        Names { members: self.members(), left: BTreeMap::new() }
    }

    /// What people call the members, and all centres that `these` speak of.
    pub async fn names<T: Mentions>(&self, these: &[T]) -> Result<Names, Error> {
        let mut names = self.member_names();
        let mut centres = BTreeSet::new();
        for it in these {
            it.mentions(&mut centres);
        }
        centres.retain(|centre| names.members.centre(*centre).is_none());
        let wanted: Vec<_> = centres.into_iter().map(keys::centre).collect();
        for some in wanted.chunks(aegle_consensus::KEYS_MAX) {
            let records: Vec<Option<CentreRecord>> = self.records(some).await?;
            let left = records.into_iter().flatten().map(|record| record.centre);
            let left = left.filter(|centre| names.free(&centre.code));
            let left: Vec<_> = left.map(|centre| (centre.id, centre.code)).collect();
            names.left.extend(left);
        }
        Ok(names)
    }
}

impl<T: Mentions> Mentions for Option<T> {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        if let Some(it) = self {
            it.mentions(centres);
        }
    }
}

impl<T: Mentions> Mentions for Box<T> {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        (**self).mentions(centres);
    }
}

impl Mentions for Grantee {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        let (Self::Professional { centre, .. }
        | Self::Department { centre, .. }
        | Self::Organisation { centre }) = self;
        centres.insert(*centre);
    }
}

impl Mentions for OpenedRule {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        self.grantee.mentions(centres);
        centres.extend(self.scope.iter().map(|scoped| scoped.centre));
    }
}

impl Mentions for OpenedRequest {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        if let Requester::Professional { centre, .. } = &self.requester {
            centres.insert(*centre);
        }
        centres.extend(self.wishes.iter().map(|wish| wish.centre));
    }
}

impl Mentions for PartDelivery {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        centres.insert(self.centre);
    }
}

impl Mentions for LogView {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        centres.insert(self.author);
        match &self.seen {
            Seen::Granted { opened, .. } => opened.mentions(centres),
            Seen::Asked { requester, opened, granted, .. } => {
                centres.insert(*requester);
                opened.mentions(centres);
                centres.extend(granted.iter().map(|(centre, ..)| *centre));
            }
            Seen::Delivered { parts, .. } => parts.iter().for_each(|part| part.mentions(centres)),
            Seen::Enrolled
            | Seen::Linked { .. }
            | Seen::Revoked { .. }
            | Seen::Restored { .. }
            | Seen::Erased { .. }
            | Seen::Other => {}
        }
    }
}

impl Mentions for GrantedRule {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        self.rule.mentions(centres);
    }
}

impl Mentions for RuleChange {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        if let Changed::Granted { opened, .. } = &self.what {
            opened.mentions(centres);
        }
        if let Fate::Made(change) = &self.fate {
            centres.insert(change.by);
        }
    }
}

impl Mentions for RestorePreview {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        self.comes.iter().chain(&self.goes).for_each(|(_, rule)| rule.mentions(centres));
    }
}

impl Mentions for PreviewPart {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        centres.insert(self.centre);
    }
}

impl Mentions for Offer {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        centres.insert(self.from);
    }
}

impl Mentions for Linked {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        centres.insert(self.centre);
    }
}

impl Mentions for Emergency {
    fn mentions(&self, centres: &mut BTreeSet<CentreId>) {
        self.opened.mentions(centres);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_model::{Hash, SigningKey};

    fn centre(seed: u8, code: &str) -> aegle_ledger::Centre {
        let key = SigningKey::from_seed(&[seed; 32]).public();
        let (id, code) = (aegle_ledger::Centre::id_of(&key), Name::new(code).unwrap());
        aegle_ledger::Centre { id, code, key, tls: Hash::ZERO, seal: [4; 65] }
    }

    #[test]
    fn a_code_stands_for_the_member_that_has_it_now() {
        let (here, gone) = (centre(1, "ZMC"), centre(2, "KHM"));
        let centres = vec![here.clone()];
        let members = Arc::new(Members { epoch: 3, centres, validators: vec![here.key] });
        let left = [(gone.id, gone.code.clone())].into();
        let names = Names { members, left };
        assert_eq!([here.id, gone.id].map(|id| names.code(id)), ["ZMC", "KHM"]);
        assert_eq!(names.member("ZMC"), Some(here.id));
        assert_eq!(names.member("KHM"), None, "whoever left can be named in nothing new");
        assert!(names.free(&gone.code) && !names.free(&here.code));
        let stranger = centre(3, "UCL").id;
        assert_eq!(names.code(stranger), stranger.to_string());
    }
}
