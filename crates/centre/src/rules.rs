//! Rules: granting, revoking, listing, and seeing what a rule would do before it is made.

use crate::submit::now;
use crate::{Caller, Centre, Error, Vocabularies, seal};
use aegle_access::{Effect, Explanation, Purpose, Purposes, Rule, explain};
use aegle_ledger::{
    Body, Grant, NetworkRecord, OpenedRequest, OpenedRule, PatientRecord, Record, Returns, Revoke,
    RulePage, RuleRecord, SEALED_BYTES_MAX, ScopedTag, Wish, change_id, keys, rule_id,
};
use aegle_model::{
    Cell, CentreId, Grantee, PatientId, RecordKey, RequestId, Requester, RuleId, TagName,
    Vocabulary, Window,
};

/// A rule as a patient asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleDraft {
    /// Allow or deny.
    pub effect: Effect,
    /// To whom.
    pub grantee: Grantee,
    /// What.
    pub scope: Vec<(CentreId, TagName)>,
    /// When.
    pub window: Window,
    /// What for.
    pub purposes: Purposes,
}

/// A rule that is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedRule {
    /// Its id.
    pub id: RuleId,
    /// The rule; none when it cannot be read here.
    pub rule: Option<OpenedRule>,
}

/// What a requester could see of one centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewPart {
    /// The centre.
    pub centre: CentreId,
    /// Its cells that carry one of the tags asked for.
    pub cells: Vec<PreviewCell>,
}

/// Whether one cell would be open, and why. None stands for the rule that is only being tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewCell {
    /// The cell's tags.
    pub cell: Cell,
    /// What opens and closes it.
    pub why: Explanation<Option<RuleId>>,
}

/// The key and rules of one patient.
struct Book {
    key: RecordKey,
    record: PatientRecord,
    rules: Vec<(RuleId, Rule)>,
}

impl Centre {
    /// Puts a rule of the calling patient into force.
    pub async fn grant(&self, caller: &Caller, draft: RuleDraft) -> Result<RuleId, Error> {
        let patient = caller.patient()?;
        let key = self.key_of(patient).await?;
        let opened = self.open_draft(draft, &self.vocabularies().await?)?;
        let rule = opened.blind(&key).map_err(|error| Error::invalid("scope", error))?;
        let sealed = seal::seal(&key, &opened);
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(Error::invalid("scope", "too many tags for one rule; make several"));
        }
        let receipt = self.commit(Body::Grant(Grant { patient, rule, sealed })).await?;
        Ok(rule_id(&change_id(patient, receipt.transaction.nonce())))
    }

    /// Takes a rule of the calling patient out of force.
    pub async fn revoke(&self, caller: &Caller, rule: RuleId) -> Result<(), Error> {
        let patient = caller.patient()?;
        self.commit(Body::Revoke(Revoke { patient, rule })).await.map(|_| ())
    }

    /// The calling patient's rules.
    pub async fn rules(&self, caller: &Caller) -> Result<Vec<GrantedRule>, Error> {
        let book = self.book(caller.patient()?).await?;
        let keys: Vec<_> = book.rules.iter().map(|(id, _)| keys::rule(*id)).collect();
        let mut records: Vec<Option<RuleRecord>> = Vec::with_capacity(keys.len());
        for some in keys.chunks(aegle_consensus::KEYS_MAX) {
            records.extend(self.records(some).await?);
        }
        let rules = book.rules.iter().zip(records);
        let read = |sealed: RuleRecord| seal::open(&book.key, &sealed.sealed);
        Ok(rules
            .map(|((id, _), record)| GrantedRule { id: *id, rule: record.and_then(read) })
            .collect())
    }

    /// What `requester` could see now, with `extra` added if given.
    pub async fn preview(
        &self,
        caller: &Caller,
        (requester, purpose): (Requester, Purpose),
        extra: Option<RuleDraft>,
    ) -> Result<Vec<PreviewPart>, Error> {
        let patient = caller.patient()?;
        let (book, vocabularies) = (self.book(patient).await?, self.vocabularies().await?);
        let extra = match extra {
            Some(draft) => {
                let opened = self.open_draft(draft, &vocabularies)?;
                Some(opened.blind(&book.key).map_err(|error| Error::invalid("scope", error))?)
            }
            None => None,
        };
        let known = book.rules.iter().map(|(id, rule)| (Some(*id), rule));
        let rules: Vec<_> = known.chain(extra.iter().map(|rule| (None, rule))).collect();
        let opened = self.everything(patient, (requester, purpose), &book.record, &vocabularies);
        self.explained(&opened, &book.key, &rules, &vocabularies).await
    }

    /// A request for every cell at every linked centre; only ever explained, never submitted.
    fn everything(
        &self,
        patient: PatientId,
        (requester, purpose): (Requester, Purpose),
        record: &PatientRecord,
        vocabularies: &Vocabularies,
    ) -> OpenedRequest {
        let linked = vocabularies.iter().filter(|(centre, _)| record.link(**centre).is_some());
        let tags =
            |vocabulary: &Vocabulary| vocabulary.tags.iter().map(|tag| tag.name.clone()).collect();
        OpenedRequest {
            network: self.parts().genesis.network(),
            request: RequestId::from_array([0; 16]),
            patient,
            requester,
            purpose,
            reason: None,
            wishes: linked
                .map(|(centre, words)| Wish { centre: *centre, tags: tags(words) })
                .collect(),
            recipient: [0; 65],
            asked: now(),
        }
    }

    async fn explained(
        &self,
        opened: &OpenedRequest,
        key: &RecordKey,
        rules: &[(Option<RuleId>, &Rule)],
        vocabularies: &Vocabularies,
    ) -> Result<Vec<PreviewPart>, Error> {
        let network: NetworkRecord =
            self.record(keys::network()).await?.ok_or(Error::Unavailable { part: "ledger" })?;
        let known = |centre| vocabularies.get(&centre).map(AsRef::as_ref);
        let (question, _) = opened.question(key, known).map_err(Error::internal)?;
        let why = explain(rules, &question, network.policy, now());
        let mut parts = Vec::new();
        for (wish, why) in opened.wishes.iter().zip(why) {
            let vocabulary = &vocabularies[&wish.centre];
            let (_, order) = opened.part(wish, key, vocabulary).map_err(Error::internal)?;
            let cells = order.iter().zip(why);
            let cell = |(id, why): (&aegle_model::CellId, _)| PreviewCell {
                cell: vocabulary.cells[usize::from(id.0)].clone(),
                why,
            };
            let mut cells: Vec<_> = cells.map(cell).collect();
            cells.sort_by(|a, b| a.cell.cmp(&b.cell));
            parts.push(PreviewPart { centre: wish.centre, cells });
        }
        Ok(parts)
    }

    /// Names each tag as it is now, so that the consent does not grow with it.
    fn open_draft(
        &self,
        draft: RuleDraft,
        vocabularies: &Vocabularies,
    ) -> Result<OpenedRule, Error> {
        let (Grantee::Professional { centre, .. }
        | Grantee::Department { centre, .. }
        | Grantee::Organisation { centre }) = draft.grantee;
        if self.parts().genesis.centre(centre).is_none() {
            return Err(Error::invalid("grantee", "the centre is not a member of the network"));
        }
        let mut scope = Vec::with_capacity(draft.scope.len());
        for (centre, tag) in draft.scope {
            let vocabulary = vocabularies
                .get(&centre)
                .ok_or_else(|| Error::invalid("scope", "a centre has not published a catalogue"))?;
            let version =
                vocabulary.tag_version(&tag).map_err(|error| Error::invalid("scope", error))?;
            scope.push(ScopedTag { centre, tag, version });
        }
        let RuleDraft { effect, grantee, window, purposes, .. } = draft;
        Ok(OpenedRule { effect, grantee, scope, window, purposes })
    }

    async fn book(&self, patient: PatientId) -> Result<Book, Error> {
        let key = self.key_of(patient).await?;
        let record = self.patient(patient).await?.ok_or(Error::NotFound { what: "patient" })?;
        let wanted: Vec<_> = record.rule_keys(patient).collect();
        let snapshot = self.parts().ledger.read(&wanted).await?;
        let mut values = snapshot.values.into_iter();
        let returns = values.next().flatten().and_then(|bytes| Returns::read(&bytes));
        let counted = returns.unwrap_or_default().counted(snapshot.header.height);
        let pages = values.flatten().filter_map(|bytes| RulePage::read(&bytes));
        let standing = pages.flat_map(|page| page.0).filter(|rule| rule.stands(&counted));
        let rules = standing.map(|kept| (kept.id, kept.rule)).collect();
        Ok(Book { key, record, rules })
    }

    pub(crate) async fn key_of(&self, patient: PatientId) -> Result<RecordKey, Error> {
        self.record_key(patient).await?.ok_or(Error::NotFound { what: "patient at this centre" })
    }
}
