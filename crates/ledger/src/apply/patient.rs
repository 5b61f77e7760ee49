//! Enrolment, links, and their end by erasure.

use super::{Applied, work::Work};
use crate::heads;
use crate::outcome::{Outcome, Rejection};
use crate::state::{Linked, PatientRecord, keys};
use crate::transaction::{Enrol, Erase, Link};
use aegle_model::{CentreId, Hash, PatientId};

impl Work<'_> {
    pub(super) fn enrol(&mut self, author: CentreId, enrol: &Enrol) -> Applied {
        let handle = keys::handle(enrol.patient.into());
        let taken =
            self.patient(enrol.patient)?.is_some() || self.get::<PatientId>(handle)?.is_some();
        if taken {
            return Ok(Err(Rejection::PatientTaken));
        }
        let mut network = self.network()?;
        let record = PatientRecord {
            index: network.patients,
            commitment: enrol.commitment,
            links: vec![Linked { centre: author, speaks: true }],
            pages: 0,
            rules: 0,
            entries: 0,
            head: Hash::ZERO,
        };
        let grows = heads::levels(network.patients + 1) > heads::levels(network.patients);
        network.patients += 1;
        self.put(handle, &enrol.patient);
        self.put(keys::patient(enrol.patient), &record);
        self.put(keys::network(), &network);
        if grows {
            heads::raise(self, network.patients)?;
        }
        Ok(Ok(Outcome::Done))
    }

    pub(super) fn link(&mut self, author: CentreId, link: &Link) -> Applied {
        let Some(mut record) = self.patient(link.patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        let member = self.centre(link.by_patient.centre)?;
        if !member.is_some_and(|member| member.centre.made(&link.by_patient)) {
            return Ok(Err(Rejection::UnknownCentre));
        }
        if !record.link(link.by_patient.centre).is_some_and(|side| side.speaks) {
            return Ok(Err(Rejection::NoAuthority));
        }
        if record.commitment != link.commitment {
            return Ok(Err(Rejection::WrongKey));
        }
        if record.link(author).is_some() {
            return Ok(Err(Rejection::LinkedAlready));
        }
        record.links.push(Linked { centre: author, speaks: link.speaks });
        self.put(keys::patient(link.patient), &record);
        Ok(Ok(Outcome::Done))
    }

    /// Ends the author's link, also when nobody speaks for the patient afterwards: the data are gone
    /// already. Who is linked again may be erased again.
    pub(super) fn erase(&mut self, author: CentreId, erase: &Erase) -> Applied {
        let Some(mut record) = self.patient(erase.patient)? else {
            return Ok(Err(Rejection::UnknownPatient));
        };
        if record.link(author).is_none() {
            return Ok(Err(Rejection::NotLinked));
        }
        record.links.retain(|link| link.centre != author);
        self.put(keys::patient(erase.patient), &record);
        Ok(Ok(Outcome::Done))
    }
}
