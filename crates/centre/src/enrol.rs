//! Enrolment: a patient of this centre comes into the network.

use crate::submit::random;
use crate::{Caller, Centre, Error};
use aegle_identity::{NewUser, Role, UserError};
use aegle_lake::LinkError;
use aegle_ledger::{Body, Enrol};
use aegle_model::{Handle, PatientId, RecordKey};
use std::sync::Arc;
use zeroize::Zeroizing;

/// How a patient will sign in at this centre; the pass phrase is the patient's own.
pub struct NewLogin {
    /// The login.
    pub login: String,
    /// What the screens call the person.
    pub name: String,
    /// The pass phrase.
    pub passphrase: Zeroizing<String>,
}

impl Centre {
    /// Enrols the patient with this centre's patient number and gives them a login.
    ///
    /// A run that was cut short is taken up again by the next one.
    pub async fn enrol(
        &self,
        caller: &Caller,
        number: &str,
        login: NewLogin,
    ) -> Result<Handle, Error> {
        caller.administrator()?;
        let patient = PatientId::from_array(random());
        let key = RecordKey::from_array(random());
        self.attach(patient, number, &key).await?;
        let commitment = key.commitment();
        if let Err(error) = self.commit(Body::Enrol(Enrol { patient, commitment })).await {
            self.with_lake(move |lake| lake.unlink(patient)).await?.map_err(Error::internal)?;
            return Err(error);
        }
        self.create_login(patient, login).await?;
        Ok(Handle::from(patient))
    }

    /// Ties a pseudonym to a patient number of this centre and keeps the record key.
    pub(crate) async fn attach(
        &self,
        patient: PatientId,
        number: &str,
        key: &RecordKey,
    ) -> Result<(), Error> {
        let (number, key) = (Zeroizing::new(number.to_owned()), key.clone());
        self.with_lake(move |lake| {
            lake.put_record_key(patient, &key).map_err(Error::internal)?;
            lake.link(patient, &number).map_err(link_error)
        })
        .await?
    }

    /// Gives a patient a login at this centre.
    pub(crate) async fn create_login(
        &self,
        patient: PatientId,
        login: NewLogin,
    ) -> Result<(), Error> {
        let identity = Arc::clone(&self.parts().identity);
        let create = move || {
            let NewLogin { login, name, passphrase } = &login;
            let role = Role::Patient { patient: Some(patient) };
            identity.create_user(&NewUser { login, name, passphrase, role })
        };
        let created = tokio::task::spawn_blocking(create).await.map_err(Error::internal)?;
        created.map(|_| ()).map_err(user_error)
    }
}

fn link_error(error: LinkError) -> Error {
    match error {
        LinkError::NoSuchPatient => Error::NotFound { what: "patient number at this centre" },
        taken @ (LinkError::NumberTaken | LinkError::PersonTaken) => {
            Error::Conflict(taken.to_string())
        }
        other => Error::internal(other),
    }
}

/// What an administrator who makes a user is told.
fn user_error(error: UserError) -> Error {
    match error {
        UserError::Login(why) => Error::invalid("login", why),
        UserError::Passphrase(why) => Error::invalid("passphrase", why),
        why @ UserError::Name => Error::invalid("name", why),
        why @ UserError::Taken(_) => Error::Conflict(why.to_string()),
        other => Error::internal(other),
    }
}
