//! What members decide together, by the hands of their administrators.

use crate::{Caller, Centre, Error};
use aegle_ledger::{
    Amendment, Body, CentreRecord, GovernanceRecord, Header, ProposalRecord, Propose, Stage,
    Switch, TxId, Vote, keys,
};
use aegle_model::CentreId;
use std::collections::BTreeMap;

/// A proposal as people read it. Centres stand there by their codes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The transaction that proposed it.
    pub id: TxId,
    /// What is to change, in a sentence.
    pub sentence: String,
    /// Who proposed it.
    pub by: String,
    /// Who agrees.
    pub agreed: Vec<String>,
    /// Who is against it.
    pub against: Vec<String>,
    /// Where it stands.
    pub stage: Stage,
}

impl Centre {
    /// The last closed proposals, the agreed and the open ones, in this order.
    pub async fn proposals(&self, caller: &Caller) -> Result<Vec<Proposal>, Error> {
        caller.reviewer()?;
        let governance: Option<GovernanceRecord> = self.record(keys::governance()).await?;
        let GovernanceRecord { open, agreed, closed, .. } = governance.unwrap_or_default();
        let ids: Vec<TxId> = [closed, agreed, open].concat();
        let wanted: Vec<_> = ids.iter().map(keys::proposal).collect();
        let records: Vec<Option<ProposalRecord>> = self.records(&wanted).await?;
        let codes = self.codes(records.iter().flatten()).await?;
        let code =
            |centre: CentreId| codes.get(&centre).cloned().unwrap_or_else(|| centre.to_string());
        let named = |centres: Vec<CentreId>| centres.into_iter().map(code).collect();
        let proposals = ids.into_iter().zip(records).filter_map(|(id, record)| {
            let ProposalRecord { change, by, agreed, against, stage, .. } = record?;
            let sentence = change.sentence(code);
            let (agreed, against) = (named(agreed), named(against));
            Some(Proposal { id, sentence, by: code(by), agreed, against, stage })
        });
        Ok(proposals.collect())
    }

    /// Proposes a change of the network in the name of this centre, which agrees with it.
    pub async fn propose(&self, caller: &Caller, change: Amendment) -> Result<TxId, Error> {
        caller.administrator()?;
        known(&change)?;
        let receipt = self.commit(Body::Propose(Box::new(Propose { change }))).await?;
        Ok(receipt.transaction.id())
    }

    /// Says what this centre thinks of an open proposal.
    pub async fn vote(&self, caller: &Caller, proposal: TxId, agree: bool) -> Result<(), Error> {
        caller.administrator()?;
        let record: Option<ProposalRecord> = self.record(keys::proposal(&proposal)).await?;
        let record = record.ok_or(Error::NotFound { what: "proposal" })?;
        if agree {
            known(&record.change)?;
        }
        self.commit(Body::Vote(Vote { proposal, agree })).await.map(drop)
    }

    /// The codes of all centres that proposals speak of, members or not.
    async fn codes(
        &self,
        proposals: impl Iterator<Item = &ProposalRecord>,
    ) -> Result<BTreeMap<CentreId, String>, Error> {
        let mut centres = Vec::new();
        for ProposalRecord { change, by, agreed, against, .. } in proposals {
            centres.push(*by);
            centres.extend(agreed.iter().chain(against));
            match change {
                Amendment::Remove(centre) => centres.push(*centre),
                Amendment::Rotate(member) => centres.push(member.centre.id),
                Amendment::Admit(_) | Amendment::Policy(_) | Amendment::Protocol(_) => {}
            }
        }
        centres.sort_unstable();
        centres.dedup();
        let wanted: Vec<_> = centres.iter().map(|centre| keys::centre(*centre)).collect();
        let records: Vec<Option<CentreRecord>> = self.records(&wanted).await?;
        let coded = |record: CentreRecord| (record.centre.id, record.centre.code.to_string());
        Ok(records.into_iter().flatten().map(coded).collect())
    }
}

/// A node never helps to switch to a version of the protocol that it could not follow.
fn known(change: &Amendment) -> Result<(), Error> {
    match change {
        Amendment::Protocol(Switch { version, .. }) if *version > Header::VERSION => {
            Err(Error::Conflict(format!(
                "this node knows version {} of the protocol; install a version of Aegle that \
                 knows version {version} before you agree to it",
                Header::VERSION
            )))
        }
        _ => Ok(()),
    }
}
