//! Granting and revoking rules. Rules stand on pages, so that a change costs one page.

use super::{Applied, Halt, work::Work};
use crate::outcome::{Outcome, Rejection};
use crate::state::{PatientRecord, RulePage, RuleRecord, keys};
use crate::transaction::{Grant, Revoke, TxId};
use aegle_access::Rule;
use aegle_model::{CentreId, PatientId, RuleId};

const PAGE_RULES: usize = 32;
const RULES_MAX: u32 = 20_000;

impl Work<'_> {
    pub(super) fn grant(&mut self, author: CentreId, id: TxId, grant: &Grant) -> Applied {
        let Some(mut record) = self.patient(grant.patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        if !record.link(author).is_some_and(|link| link.speaks) {
            return Ok(Err(Rejection::NoAuthority));
        }
        if record.rules >= RULES_MAX {
            return Ok(Err(Rejection::TooManyRules));
        }
        let rule = rule_id(&id);
        let (number, mut page) = self.open_page(grant.patient, &mut record)?;
        page.0.push((rule, grant.rule.clone()));
        record.rules += 1;
        self.put(keys::rules(grant.patient, number), &page);
        let sealed = grant.sealed.clone();
        self.put(
            keys::rule(rule),
            &RuleRecord { patient: grant.patient, page: number, granted: id, sealed },
        );
        self.put(keys::patient(grant.patient), &record);
        Ok(Ok(Outcome::Done))
    }

    /// The last page if it has room, else a new one.
    fn open_page(
        &mut self,
        patient: PatientId,
        record: &mut PatientRecord,
    ) -> Result<(u32, RulePage), Halt> {
        if let Some(last) = record.pages.checked_sub(1) {
            let page: RulePage = self.get(keys::rules(patient, last))?.unwrap_or_default();
            if page.0.len() < PAGE_RULES {
                return Ok((last, page));
            }
        }
        record.pages += 1;
        Ok((record.pages - 1, RulePage::default()))
    }

    pub(super) fn revoke(&mut self, author: CentreId, revoke: &Revoke) -> Applied {
        let Some(mut record) = self.patient(revoke.patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        if !record.link(author).is_some_and(|link| link.speaks) {
            return Ok(Err(Rejection::NoAuthority));
        }
        let rule = self.get::<RuleRecord>(keys::rule(revoke.rule))?;
        let Some(rule) = rule.filter(|rule| rule.patient == revoke.patient) else {
            return Ok(Err(Rejection::UnknownRule));
        };
        let key = keys::rules(revoke.patient, rule.page);
        let mut page: RulePage = self.get(key)?.unwrap_or_default();
        page.0.retain(|(id, _)| *id != revoke.rule);
        record.rules -= 1;
        self.put(key, &page);
        self.remove(keys::rule(revoke.rule));
        self.put(keys::patient(revoke.patient), &record);
        Ok(Ok(Outcome::Done))
    }

    /// All of a patient's rules.
    pub(super) fn rules(
        &mut self,
        patient: PatientId,
        record: &PatientRecord,
    ) -> Result<Vec<Rule>, Halt> {
        let pages = (0..record.pages).map(|page| keys::rules(patient, page));
        self.want(pages.clone());
        let mut rules = Vec::new();
        for key in pages {
            let page: RulePage = self.get(key)?.unwrap_or_default();
            rules.extend(page.0.into_iter().map(|(_, rule)| rule));
        }
        Ok(rules)
    }
}

/// The id of the rule that a transaction grants.
pub fn rule_id(transaction: &TxId) -> RuleId {
    RuleId::from_array(transaction.as_bytes()[..16].try_into().expect("32 bytes hold 16"))
}
