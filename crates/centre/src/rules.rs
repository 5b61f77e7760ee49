//! Rules: granting, revoking, listing, and seeing what a rule would do before it is made.

use crate::book::{At, Book};
use crate::change::{Kept, Progress, nonce};
use crate::submit::now;
use crate::{Caller, Centre, Error, Vocabularies, seal};
use aegle_access::{Effect, Explanation, Purpose, Purposes, Rule, explain};
use aegle_ledger::{
    Body, Grant, NetworkRecord, OpenedRequest, OpenedRule, PatientRecord, Rejection, Revoke,
    RuleRecord, SEALED_BYTES_MAX, ScopedTag, Wish, change_id, keys, rule_id,
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

/// A rule that is in the ledger, or waits to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantedRule {
    /// Its id.
    pub id: RuleId,
    /// The rule; none when it cannot be read here.
    pub rule: Option<OpenedRule>,
    /// Whether it is in force.
    pub standing: Standing,
}

/// Whether a rule is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// At every centre.
    InForce,
    /// Not yet: the grant waits at this centre for the ledger.
    Waiting,
    /// Still, but a revocation waits at this centre for the ledger.
    Revoking,
    /// Never was: the ledger refused it after the patient had been told to wait.
    Refused(Rejection),
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

impl Centre {
    /// Puts a rule of the calling patient into force. `name` is the caller's own for this change: the
    /// same name again makes no second rule.
    pub async fn grant(
        &self,
        caller: &Caller,
        draft: RuleDraft,
        name: Option<&str>,
    ) -> Result<(RuleId, Progress), Error> {
        let patient = caller.patient()?;
        let key = self.key_of(patient).await?;
        let opened = self.open_draft(draft, &self.vocabularies().await?)?;
        let rule = opened.blind(&key).map_err(|error| Error::invalid("scope", error))?;
        let sealed = seal::seal(&key, &opened);
        if sealed.len() > SEALED_BYTES_MAX {
            return Err(Error::invalid("scope", "too many tags for one rule; make several"));
        }
        let change = (patient, nonce(&key, name));
        let progress = self.change(change, Body::Grant(Grant { patient, rule, sealed })).await?;
        Ok((rule_id(&change_id(patient, change.1)), progress))
    }

    /// Takes a rule of the calling patient out of force. One that is out of force already stays so.
    pub async fn revoke(
        &self,
        caller: &Caller,
        rule: RuleId,
        name: Option<&str>,
    ) -> Result<Progress, Error> {
        let patient = caller.patient()?;
        let kept = self.kept_changes(patient)?;
        let waiting = |kept: &&Kept| kept.refused.is_none();
        let revoking = kept.iter().filter(waiting).find(|kept| revokes(kept, rule));
        let change = match (name, revoking) {
            (None, Some(kept)) => kept.transaction.nonce(),
            _ => nonce(&self.key_of(patient).await?, name),
        };
        let granting = kept.iter().filter(waiting).any(|kept| grants(kept, rule));
        if revoking.is_none() && !granting && !self.stands(patient, rule).await? {
            // A revocation that was refused for this reason has its wish.
            for kept in kept.iter().filter(|kept| revokes(kept, rule)) {
                self.parts().store.drop_change((patient, kept.transaction.nonce()))?;
            }
            return Ok(Progress::Made);
        }
        self.change((patient, change), Body::Revoke(Revoke { patient, rule })).await
    }

    /// Whether a rule of the patient stands; an error when there never was one.
    async fn stands(&self, patient: PatientId, rule: RuleId) -> Result<bool, Error> {
        let record: Option<RuleRecord> = self.record(keys::rule(rule)).await?;
        if record.is_none_or(|record| record.patient != patient) {
            return Err(Error::NotFound { what: "rule" });
        }
        Ok(self.book(patient).await?.now().iter().any(|kept| kept.id == rule))
    }

    /// The calling patient's rules, oldest first: those of an earlier moment, or those of now with
    /// what waits here to change them.
    pub async fn rules(&self, caller: &Caller, at: Option<At>) -> Result<Vec<GrantedRule>, Error> {
        let patient = caller.patient()?;
        // What waits is read first: what is made in between shows twice rather than not at all.
        let kept = if at.is_none() { self.kept_changes(patient)? } else { Vec::new() };
        let book = self.book(patient).await?;
        let height = at.map_or(Ok(book.tip.0), |at| book.height(at))?;
        let rules = book.standing(height);
        let opened = self.opened(&book.key, &rules).await?;
        let standing = rules.into_iter().map(|kept| kept.id).zip(opened).map(|(id, rule)| {
            let going = kept.iter().any(|kept| kept.refused.is_none() && revokes(kept, id));
            let standing = if going { Standing::Revoking } else { Standing::InForce };
            GrantedRule { id, rule, standing }
        });
        let coming = kept.iter().filter_map(|kept| coming(kept, &book));
        Ok(standing.chain(coming).collect())
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
        let known = book.now().into_iter().map(|kept| (Some(kept.id), &kept.rule));
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
        if self.members().centre(centre).is_none() {
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
}

fn grants(kept: &Kept, rule: RuleId) -> bool {
    let granted = kept.transaction.change_id().as_ref().map(rule_id);
    matches!(kept.transaction.body(), Body::Grant(_)) && granted == Some(rule)
}

fn revokes(kept: &Kept, rule: RuleId) -> bool {
    matches!(kept.transaction.body(), Body::Revoke(revoke) if revoke.rule == rule)
}

/// A rule whose grant is kept here, unless the ledger has it meanwhile.
fn coming(kept: &Kept, book: &Book) -> Option<GrantedRule> {
    let Body::Grant(grant) = kept.transaction.body() else { return None };
    let id = rule_id(&kept.transaction.change_id()?);
    let made = book.rules.iter().any(|rule| rule.id == id);
    let standing = kept.refused.map_or(Standing::Waiting, Standing::Refused);
    (!made).then(|| GrantedRule { id, rule: seal::open(&book.key, &grant.sealed), standing })
}
