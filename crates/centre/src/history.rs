//! The history of a patient's rules: who changed what, the rules of any moment, the way back to them.

use crate::book::{At, Book};
use crate::change::{Progress, nonce};
use crate::{Caller, Centre, Error, seal};
use aegle_ledger::{
    Body, Change, Grant, KeptRule, OpenedRule, Rejection, Restore, Revoke, rule_id,
};
use aegle_model::RuleId;
use std::collections::BTreeSet;

/// One change of the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleChange {
    /// What was asked for.
    pub what: Changed,
    /// What became of it.
    pub fate: Fate,
}

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// A rule comes into force.
    Granted {
        /// Its id.
        rule: RuleId,
        /// The rule; none when it cannot be read here.
        opened: Option<Box<OpenedRule>>,
    },
    /// A rule goes out of force.
    Revoked {
        /// Its id.
        rule: RuleId,
    },
    /// The rules of an earlier height come back into force.
    Restored {
        /// The height.
        to: u64,
    },
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// The ledger has it: when, and by which centre.
    Made(Change),
    /// It waits at this centre.
    Waiting,
    /// The ledger refused it after the patient had been told to wait.
    Refused(Rejection),
}

/// What a return would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePreview {
    /// The height that it leads to.
    pub height: u64,
    /// The rules that come back into force.
    pub comes: Vec<(RuleId, Option<OpenedRule>)>,
    /// The rules that go out of force.
    pub goes: Vec<(RuleId, Option<OpenedRule>)>,
}

impl Centre {
    /// Every change of the calling patient's rules, oldest first; then those that this centre keeps.
    pub async fn history(&self, caller: &Caller) -> Result<Vec<RuleChange>, Error> {
        let patient = caller.patient()?;
        // What waits is read first: what is made in between shows twice rather than not at all.
        let kept = self.kept_changes(patient)?;
        let book = self.book(patient).await?;
        let rules: Vec<_> = book.rules.iter().collect();
        let opened = self.opened(&book.key, &rules).await?;
        let mut made = made(&book, opened);
        made.sort_by_key(|(change, _)| change.at);
        let made =
            made.into_iter().map(|(change, what)| RuleChange { what, fate: Fate::Made(change) });
        let waiting = kept.into_iter().filter_map(|kept| {
            let id = kept.transaction.change_id()?;
            let what = match kept.transaction.body() {
                // What waits here was sealed here.
                Body::Grant(Grant { sealed, .. }) => Changed::Granted {
                    rule: rule_id(&id),
                    opened: seal::open(&book.key, sealed).map(Box::new),
                },
                Body::Revoke(Revoke { rule, .. }) => Changed::Revoked { rule: *rule },
                Body::Restore(Restore { height, .. }) => Changed::Restored { to: *height },
                _ => return None,
            };
            Some(RuleChange { what, fate: kept.refused.map_or(Fate::Waiting, Fate::Refused) })
        });
        Ok(made.chain(waiting).collect())
    }

    /// Brings the rules of an earlier moment back into force, all at once. Returns its height.
    /// `name` is the caller's own for this change: the same name again makes no second change.
    pub async fn restore(
        &self,
        caller: &Caller,
        at: At,
        name: Option<&str>,
    ) -> Result<(u64, Progress), Error> {
        let patient = caller.patient()?;
        let book = self.book(patient).await?;
        let height = book.height(at)?;
        let change = (patient, nonce(&book.key, name));
        let body = Body::Restore(Restore { patient, height });
        Ok((height, self.change(change, body).await?))
    }

    /// What [`Centre::restore`] would do now.
    pub async fn preview_restore(&self, caller: &Caller, at: At) -> Result<RestorePreview, Error> {
        let book = self.book(caller.patient()?).await?;
        let height = book.height(at)?;
        let ids = |rules: Vec<&KeptRule>| -> BTreeSet<RuleId> {
            rules.into_iter().map(|rule| rule.id).collect()
        };
        let (then, now) = (ids(book.standing(height)), ids(book.now()));
        let named = async |only: &BTreeSet<RuleId>, without: &BTreeSet<RuleId>| {
            let is_one = |kept: &&KeptRule| only.contains(&kept.id) && !without.contains(&kept.id);
            let rules: Vec<_> = book.rules.iter().filter(is_one).collect();
            let opened = self.opened(&book.key, &rules).await?;
            Ok::<_, Error>(rules.iter().map(|kept| kept.id).zip(opened).collect())
        };
        Ok(RestorePreview {
            height,
            comes: named(&then, &now).await?,
            goes: named(&now, &then).await?,
        })
    }
}

/// What the ledger has, in no order.
fn made(book: &Book, opened: Vec<Option<OpenedRule>>) -> Vec<(Change, Changed)> {
    let mut made = Vec::new();
    for (kept, opened) in book.rules.iter().zip(opened) {
        let rule = kept.id;
        made.push((kept.granted, Changed::Granted { rule, opened: opened.map(Box::new) }));
        made.extend(kept.revoked.iter().map(|change| (*change, Changed::Revoked { rule })));
    }
    made.extend(book.returns.0.iter().map(|one| (one.change, Changed::Restored { to: one.to })));
    made
}
