//! Links: a patient of one centre is linked to another. Both sides confirm: the patient offers,
//! the other centre's administrator accepts. The record key travels from node to node.

use crate::submit::now;
use crate::{Caller, Centre, Error, NewLogin, keybox};
use aegle_ledger::{Attestation, Body, Link, Linked, PatientRecord};
use aegle_model::{Canonical, CentreId, Handle, PatientId};
use borsh::{BorshDeserialize, BorshSerialize};
use std::time::Duration;

const OFFER_WITHIN: Duration = Duration::from_secs(5);
/// How often, and how long in between, this node is asked for a patient it may not know yet.
const FOLLOW_TRIES: u32 = 50;
const FOLLOW_PAUSE: Duration = Duration::from_millis(100);

/// What the patient's centre sends to the centre that is to be linked.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct OfferMessage {
    patient: PatientId,
    speaks: bool,
    by_patient: Attestation,
    sealed_key: Vec<u8>,
}

impl Canonical for OfferMessage {
    const NAME: &'static str = "link offer";
}

/// An open offer, as an administrator sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The handle that the patient gives at the desk.
    pub handle: Handle,
    /// The centre that the offer came through.
    pub from: CentreId,
    /// Whether this centre would speak for the patient, too.
    pub speaks: bool,
}

impl Centre {
    /// The calling patient wants to be linked to `to`.
    pub async fn offer_link(
        &self,
        caller: &Caller,
        to: CentreId,
        speaks: bool,
    ) -> Result<(), Error> {
        let patient = caller.patient()?;
        let key = self.key_of(patient).await?;
        let (genesis, me) = (&self.parts().genesis, self.id());
        let members = self.members();
        let member =
            members.centre(to).filter(|_| to != me).ok_or(Error::NotFound { what: "centre" })?;
        let sealed_key = keybox::seal(&member.seal, (patient, to), &key)
            .ok_or_else(|| Error::Conflict("the other centre's sealing key is unusable".into()))?;
        let linked = (patient, to, speaks);
        let by_patient = Attestation::of_link(genesis.network(), linked, me, &self.parts().key);
        let message = OfferMessage { patient, speaks, by_patient, sealed_key }.to_bytes();
        let sent = self.parts().peers.call(to, "/offer", message, OFFER_WITHIN).await;
        sent.map(|_| ()).map_err(|error| {
            tracing::warn!(%error, centre = %to, "A link offer could not be sent");
            Error::Unavailable { part: "other centre" }
        })
    }

    /// Another centre brings a patient's offer.
    pub fn receive_offer(&self, from: CentreId, message: &[u8]) -> Result<(), Error> {
        let offer = OfferMessage::from_bytes(message).map_err(|e| Error::invalid("offer", e))?;
        let genesis = &self.parts().genesis;
        let members = self.members();
        let member = members.centre(from);
        let linked = (offer.patient, self.id(), offer.speaks);
        if !member.is_some_and(|member| member.made(&offer.by_patient))
            || !offer.by_patient.covers_link(genesis.network(), linked)
        {
            return Err(Error::Forbidden { who: "the centre that made the offer" });
        }
        if offer.sealed_key.len() != keybox::SEALED_BYTES {
            return Err(Error::invalid("offer", "the record key is not sealed as it should be"));
        }
        if self.parts().store.put_offer((offer.patient, from), message, now())? {
            Ok(())
        } else {
            Err(Error::Conflict("too many offers are open".into()))
        }
    }

    /// The offers that wait for this centre.
    pub fn offers(&self, caller: &Caller) -> Result<Vec<Offer>, Error> {
        caller.administrator()?;
        let offers = self.parts().store.offers()?;
        let read = |bytes: Vec<u8>| {
            let offer = OfferMessage::from_bytes(&bytes).map_err(Error::internal)?;
            let (handle, from) = (Handle::from(offer.patient), offer.by_patient.centre);
            Ok(Offer { handle, from, speaks: offer.speaks })
        };
        offers.into_iter().map(read).collect()
    }

    /// Accepts the offer of the patient with this handle, who is `number` here. The patient gets a
    /// login here if one is given. A run that was cut short is taken up again by the next one.
    pub async fn accept_link(
        &self,
        caller: &Caller,
        handle: Handle,
        number: &str,
        login: Option<NewLogin>,
    ) -> Result<(), Error> {
        caller.administrator()?;
        let _alone = self.0.admitting.lock().await;
        let offers = self.offers_for(handle)?;
        let Some((patient, record)) = self.patient_soon(handle).await? else {
            return Err(Error::Conflict("the ledger knows no patient with this handle".into()));
        };
        let entitled = |offer: &OfferMessage| {
            let link = record.link(offer.by_patient.centre);
            offer.patient == patient && link.is_some_and(|link| link.speaks)
        };
        let true_one = offers.into_iter().filter(entitled).find_map(|offer| {
            let key = keybox::open(&self.parts().seal, (patient, self.id()), &offer.sealed_key)?;
            (key.commitment() == record.commitment).then_some((offer, key))
        });
        let Some((offer, key)) = true_one else {
            return Err(Error::Conflict("no offer comes from a centre that speaks for the patient and brings the record key".into()));
        };
        let commitment = key.commitment();
        self.with_lake(move |lake| lake.put_record_key(patient, &key))
            .await?
            .map_err(Error::internal)?;
        self.attach(patient, number).await?;
        let OfferMessage { speaks, by_patient, .. } = offer;
        // An earlier run may have come this far.
        let link = record.link(self.id()).is_none().then_some(Body::Link(Link {
            patient,
            speaks,
            commitment,
            by_patient,
        }));
        self.admit(patient, login, link).await?;
        Ok(self.parts().store.drop_offers(patient)?)
    }

    /// A patient who was enrolled elsewhere a moment ago may not have reached this node yet.
    async fn patient_soon(
        &self,
        handle: Handle,
    ) -> Result<Option<(PatientId, PatientRecord)>, Error> {
        for _ in 0..FOLLOW_TRIES {
            if let Some(found) = self.patient_by(handle).await? {
                return Ok(Some(found));
            }
            tokio::time::sleep(FOLLOW_PAUSE).await;
        }
        Ok(None)
    }

    /// Whoever offers, whether rightly or not: every member may send an offer for any handle.
    fn offers_for(&self, handle: Handle) -> Result<Vec<OfferMessage>, Error> {
        let mut found = Vec::new();
        for bytes in self.parts().store.offers()? {
            let offer = OfferMessage::from_bytes(&bytes).map_err(Error::internal)?;
            if Handle::from(offer.patient) == handle {
                found.push(offer);
            }
        }
        if found.is_empty() { Err(Error::NotFound { what: "link offer" }) } else { Ok(found) }
    }

    /// Where the calling patient is linked.
    pub async fn links(&self, caller: &Caller) -> Result<Vec<Linked>, Error> {
        let record = self.patient(caller.patient()?).await?;
        Ok(record.ok_or(Error::NotFound { what: "patient" })?.links)
    }
}
