//! Granting and revoking rules. Rules stand on pages, so that a change costs one page; they stay
//! there, so that no history is lost ([`crate::history`]).

use super::{Applied, Halt, work::Work};
use crate::history::{Change, Counted, KeptRule, Returns, rule_id};
use crate::outcome::{Outcome, Rejection};
use crate::state::{PatientRecord, RulePage, RuleRecord, keys};
use crate::transaction::{Grant, Revoke, Transaction};
use aegle_access::Rule;
use aegle_model::PatientId;
use std::rc::Rc;

/// A page takes rules until it has so many, or so many bytes: each change of it writes all of it.
const PAGE_RULES: usize = 32;
const PAGE_BYTES: usize = 16 * 1024;
/// The most pages that the rules which a patient ever granted can fill: a decision reads them all.
const PAGES_MAX: u32 = 512;

impl Work<'_> {
    pub(super) fn grant(&mut self, transaction: &Transaction, grant: &Grant) -> Applied {
        let (mut record, change) = match self.rule_change(transaction, grant.patient)? {
            Ok(begun) => begun,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let id = transaction.change_id().as_ref().map(rule_id).expect("a grant is a change");
        let Some((number, mut page)) = self.open_page(grant.patient, &mut record)? else {
            return Ok(Err(Rejection::TooManyRules));
        };
        let rule = grant.rule.clone();
        page.0.push(KeptRule { id, rule, granted: change, revoked: Vec::new() });
        record.rules += 1;
        self.put(keys::rules(grant.patient, number), &page);
        let (granted, sealed) = (transaction.id(), grant.sealed.clone());
        self.put(
            keys::rule(id),
            &RuleRecord { patient: grant.patient, page: number, granted, sealed },
        );
        self.put(keys::patient(grant.patient), &record);
        Ok(Ok(self.changed(transaction, grant.patient)))
    }

    /// What every change of rules begins with: the author may make it, and it is not made yet.
    pub(super) fn rule_change(
        &mut self,
        transaction: &Transaction,
        patient: PatientId,
    ) -> Result<Result<(PatientRecord, Change), Rejection>, Halt> {
        let Some(record) = self.patient(patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        let by = transaction.author();
        if !record.link(by).is_some_and(|link| link.speaks) {
            return Ok(Err(Rejection::NoAuthority));
        }
        let made = transaction.change_id().expect("a change of rules has an id");
        if self.get::<crate::TxId>(keys::change(&made))?.is_some() {
            return Ok(Err(Rejection::Repeated));
        }
        Ok(Ok((record, Change { at: self.position(), time: self.time, by })))
    }

    /// What every change of rules ends with.
    pub(super) fn changed(&mut self, transaction: &Transaction, patient: PatientId) -> Outcome {
        self.rules.remove(&patient);
        let made = transaction.change_id().expect("a change of rules has an id");
        self.put(keys::change(&made), &transaction.id());
        Outcome::Done
    }

    /// The last page if it has room, else a new one; none when there are too many.
    fn open_page(
        &mut self,
        patient: PatientId,
        record: &mut PatientRecord,
    ) -> Result<Option<(u32, RulePage)>, Halt> {
        if let Some(last) = record.pages.checked_sub(1) {
            let page: RulePage = self.get(keys::rules(patient, last))?.unwrap_or_default();
            let bytes = borsh::object_length(&page).expect("measuring cannot fail");
            if page.0.len() < PAGE_RULES && bytes < PAGE_BYTES {
                return Ok(Some((last, page)));
            }
        }
        if record.pages >= PAGES_MAX {
            return Ok(None);
        }
        record.pages += 1;
        Ok(Some((record.pages - 1, RulePage::default())))
    }

    pub(super) fn revoke(&mut self, transaction: &Transaction, revoke: &Revoke) -> Applied {
        let change = match self.rule_change(transaction, revoke.patient)? {
            Ok((_, change)) => change,
            Err(rejection) => return Ok(Err(rejection)),
        };
        let rule = self.get::<RuleRecord>(keys::rule(revoke.rule))?;
        let Some(rule) = rule.filter(|rule| rule.patient == revoke.patient) else {
            return Ok(Err(Rejection::UnknownRule));
        };
        let key = keys::rules(revoke.patient, rule.page);
        let mut page: RulePage = self.get(key)?.unwrap_or_default();
        let counted = self.counted(revoke.patient)?;
        let standing =
            page.0.iter_mut().find(|kept| kept.id == revoke.rule && kept.stands(&counted));
        let Some(kept) = standing else { return Ok(Err(Rejection::UnknownRule)) };
        kept.revoked.push(change);
        self.put(key, &page);
        Ok(Ok(self.changed(transaction, revoke.patient)))
    }

    /// The changes that count now.
    fn counted(&mut self, patient: PatientId) -> Result<Counted, Halt> {
        let returns: Returns = self.get(keys::returns(patient))?.unwrap_or_default();
        Ok(returns.counted(self.height()))
    }

    /// The patient's rules that stand; read once for all that a block asks until they change.
    pub(super) fn rules(
        &mut self,
        patient: PatientId,
        record: &PatientRecord,
    ) -> Result<Rc<[Rule]>, Halt> {
        if let Some(rules) = self.rules.get(&patient) {
            return Ok(Rc::clone(rules));
        }
        self.want(record.rule_keys(patient));
        let counted = self.counted(patient)?;
        let mut rules = Vec::new();
        for page in 0..record.pages {
            let page: RulePage = self.get(keys::rules(patient, page))?.unwrap_or_default();
            let standing = page.0.into_iter().filter(|rule| rule.stands(&counted));
            rules.extend(standing.map(|kept| kept.rule));
        }
        let rules = Rc::<[Rule]>::from(rules);
        self.rules.insert(patient, Rc::clone(&rules));
        Ok(rules)
    }
}
