//! A patient's rules with their history, read from the ledger.

use crate::{Centre, Error, seal};
use aegle_access::Rule;
use aegle_ledger::{
    KeptRule, OpenedRule, PatientRecord, Record, Returns, RulePage, RuleRecord, keys,
};
use aegle_model::{PatientId, RecordKey, Timestamp};

/// A moment of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After the block of this height.
    Height(u64),
    /// After the last block that is not later.
    Time(Timestamp),
}

/// The key and all rules of one patient, as of one height.
pub(crate) struct Book {
    pub(crate) key: RecordKey,
    pub(crate) record: PatientRecord,
    pub(crate) rules: Vec<KeptRule>,
    pub(crate) returns: Returns,
    /// The height and time of what was read.
    pub(crate) tip: (u64, Timestamp),
}

impl Book {
    /// The rules that stood after block `height`, oldest first.
    pub(crate) fn standing(&self, height: u64) -> Vec<&KeptRule> {
        let counted = self.returns.counted(height);
        self.rules.iter().filter(|rule| rule.stands(&counted)).collect()
    }

    /// The rules that stand now.
    pub(crate) fn now(&self) -> Vec<&KeptRule> {
        self.standing(self.tip.0)
    }

    /// The height that stands for a moment. For a time it is that of the last change until then:
    /// the same whenever it is asked for.
    pub(crate) fn height(&self, at: At) -> Result<u64, Error> {
        let (height, time) = self.tip;
        match at {
            At::Height(at) if at > height => {
                Err(Error::invalid("at", format!("the ledger is at height {height}")))
            }
            At::Height(at) => Ok(at),
            At::Time(at) if at > time => Err(Error::invalid("at", "the moment is not past")),
            At::Time(at) => {
                let changes = self
                    .rules
                    .iter()
                    .flat_map(|rule| [&rule.granted].into_iter().chain(&rule.revoked));
                let changes = changes.chain(self.returns.0.iter().map(|one| &one.change));
                let until = changes.filter(|change| change.time <= at);
                Ok(until.map(|change| change.at.height).max().unwrap_or(0))
            }
        }
    }
}

/// Whether a rule in the clear is this one in tokens.
pub(crate) fn says(opened: &OpenedRule, rule: &Rule, key: &RecordKey) -> bool {
    opened.blind(key).is_ok_and(|blinded| blinded == *rule)
}

impl Centre {
    pub(crate) async fn book(&self, patient: PatientId) -> Result<Book, Error> {
        let key = self.key_of(patient).await?;
        let record = self.patient(patient).await?.ok_or(Error::NotFound { what: "patient" })?;
        let wanted: Vec<_> = record.rule_keys(patient).collect();
        let snapshot = self.parts().ledger.read(&wanted).await?;
        let mut values = snapshot.values.into_iter();
        let returns = values.next().flatten().and_then(|bytes| Returns::read(&bytes));
        let pages = values.flatten().filter_map(|bytes| RulePage::read(&bytes));
        Ok(Book {
            key,
            record,
            rules: pages.flat_map(|page| page.0).collect(),
            returns: returns.unwrap_or_default(),
            tip: (snapshot.header.height, snapshot.header.time),
        })
    }

    /// Rules in the clear, in their order; none for one that cannot be read here, or that says something
    /// else than the ledger decides by: another centre may have sealed it.
    pub(crate) async fn opened(
        &self,
        key: &RecordKey,
        rules: &[&KeptRule],
    ) -> Result<Vec<Option<OpenedRule>>, Error> {
        let mut opened = Vec::with_capacity(rules.len());
        for some in rules.chunks(aegle_consensus::KEYS_MAX) {
            let keys: Vec<_> = some.iter().map(|kept| keys::rule(kept.id)).collect();
            let records = self.records::<RuleRecord>(&keys).await?.into_iter();
            let readable = |(kept, record): (&&KeptRule, Option<RuleRecord>)| {
                seal::open(key, &record?.sealed).filter(|opened| says(opened, &kept.rule, key))
            };
            opened.extend(some.iter().zip(records).map(readable));
        }
        Ok(opened)
    }

    pub(crate) async fn key_of(&self, patient: PatientId) -> Result<RecordKey, Error> {
        self.record_key(patient).await?.ok_or(Error::NotFound { what: "patient at this centre" })
    }
}
