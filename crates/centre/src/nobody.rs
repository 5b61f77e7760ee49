//! Nobody: whom a handle that no patient has is asked about.
//!
//! Every centre enrols one pseudonym behind which there is nobody. A question about an unknown
//! handle is asked about one of them, on the same way as every other: guardian, ledger, data
//! centres. So it takes as long, fails as often and looks the same as a question about a patient
//! whose record is closed (promise 4), and guessing handles leaves its traces on the ledger.

use crate::{Centre, Error};
use aegle_ledger::{Body, Enrol, PatientRecord};
use aegle_model::{CentreId, Handle, Hash, PatientId};

const PSEUDONYM: &str = "aegle.nobody";
const CHOICE: &str = "aegle.nobody.choice";

impl Centre {
    /// Enrols this centre's nobody, unless it stands on the ledger already.
    pub(crate) async fn enrol_nobody(&self) -> Result<(), Error> {
        let patient = self.nobody_of(self.id());
        if self.patient(patient).await?.is_some() {
            return Ok(());
        }
        let key = self.with_lake(move |lake| lake.record_key_or_new(patient)).await?;
        let commitment = key.map_err(Error::internal)?.commitment();
        self.commit(Body::Enrol(Enrol { patient, commitment })).await.map(|_| ())
    }

    /// The nobody that this handle stands for: always the same one here, and none that a stranger
    /// could foretell, so that an outage of one centre tells nothing about a handle either.
    pub(crate) async fn nobody_for(
        &self,
        handle: Handle,
    ) -> Result<(PatientId, PatientRecord), Error> {
        let not_ready = || Error::Unavailable { part: "ledger" };
        let key = self.record_key(self.nobody_of(self.id())).await?.ok_or_else(not_ready)?;
        let mut centres: Vec<_> = self.members().centres.iter().map(|it| it.id).collect();
        centres.sort_by_key(|centre| {
            let parts =
                [key.as_bytes().as_slice(), &handle.bits().to_le_bytes(), centre.as_bytes()];
            Hash::of(CHOICE, &parts)
        });
        for centre in centres {
            let nobody = self.nobody_of(centre);
            if let Some(record) = self.patient(nobody).await? {
                return Ok((nobody, record));
            }
        }
        Err(not_ready())
    }

    pub(crate) fn is_own_nobody(&self, patient: PatientId) -> bool {
        patient == self.nobody_of(self.id())
    }

    /// Follows from public ids, so no centre can pass a patient off as nobody.
    fn nobody_of(&self, centre: CentreId) -> PatientId {
        let network = self.parts().genesis.network();
        let hash = Hash::of(PSEUDONYM, &[network.as_bytes(), centre.as_bytes()]);
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        PatientId::from_array(*first)
    }
}
