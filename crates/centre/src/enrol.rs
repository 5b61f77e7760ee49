//! Enrolment: a patient of this centre comes into the network.

use crate::submit::random;
use crate::{Caller, Centre, Error};
use aegle_identity::{NewUser, Role, User, UserError};
use aegle_lake::LinkError;
use aegle_ledger::{Body, Enrol, PatientRecord};
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
    /// Enrolling with the same login and number again changes nothing, and takes up a run that was
    /// cut short.
    pub async fn enrol(
        &self,
        caller: &Caller,
        number: &str,
        login: NewLogin,
    ) -> Result<Handle, Error> {
        caller.administrator()?;
        let _alone = self.0.admitting.lock().await;
        let name = login.login.clone();
        let (patient, key) = self.begun(&name).await?;
        let enrolled = self.patient(patient).await?.is_some();
        self.attach(patient, number).await?;
        let commitment = key.commitment();
        let enrol = (!enrolled).then_some(Body::Enrol(Enrol { patient, commitment }));
        self.admit(patient, Some(login), enrol).await?;
        self.parts().store.end_enrolment(&name)?;
        Ok(Handle::from(patient))
    }

    /// The pseudonym and record key that an earlier run gave this login, or new ones. Noted before
    /// anything is tied to the pseudonym, so that a crash leaves no patient number taken by nobody.
    async fn begun(&self, login: &str) -> Result<(PatientId, RecordKey), Error> {
        let (identity, name) = (Arc::clone(&self.parts().identity), login.to_owned());
        let found = tokio::task::spawn_blocking(move || identity.user(&name)).await;
        let known = found.map_err(Error::internal)?;
        let patient = if let Ok(User { role: Role::Patient { patient: Some(known) }, .. }) = known {
            known
        } else {
            self.parts().store.begin_enrolment(login, PatientId::from_array(random()))?
        };
        let key = self.with_lake(move |lake| lake.record_key_or_new(patient)).await?;
        Ok((patient, key.map_err(Error::internal)?))
    }

    /// Gives an attached patient a login, then tells the ledger, if it does not know yet. What can
    /// be refused here is settled before the ledger hears of it.
    pub(crate) async fn admit(
        &self,
        patient: PatientId,
        login: Option<NewLogin>,
        news: Option<Body>,
    ) -> Result<(), Error> {
        let Some(news) = news else { return self.create_login(patient, login).await };
        if let Err(error) = self.create_login(patient, login).await {
            self.give_up(patient, &error).await?;
            return Err(error);
        }
        let Err(error) = self.commit(news).await else { return Ok(()) };
        // An earlier run that was cut short may have brought it to the ledger meanwhile.
        if self.give_up(patient, &error).await? { Err(error) } else { Ok(()) }
    }

    /// After a failure the number is free again, unless the ledger has the patient here already, or
    /// may still have. False when it has.
    async fn give_up(&self, patient: PatientId, error: &Error) -> Result<bool, Error> {
        let linked = |record: PatientRecord| record.link(self.id()).is_some();
        if self.patient(patient).await?.is_some_and(linked) {
            return Ok(false);
        }
        if !matches!(error, Error::Unavailable { .. } | Error::Unconfirmed) {
            self.with_lake(move |lake| lake.unlink(patient)).await?.map_err(Error::internal)?;
        }
        Ok(true)
    }

    /// Ties a pseudonym to a patient number of this centre.
    pub(crate) async fn attach(&self, patient: PatientId, number: &str) -> Result<(), Error> {
        let number = Zeroizing::new(number.to_owned());
        self.with_lake(move |lake| lake.link(patient, &number).map_err(link_error)).await?
    }

    /// Gives a patient this login, unless they have it already.
    async fn create_login(&self, patient: PatientId, login: Option<NewLogin>) -> Result<(), Error> {
        let Some(login) = login else { return Ok(()) };
        let identity = Arc::clone(&self.parts().identity);
        let create = move || {
            let NewLogin { login, name, passphrase } = &login;
            let role = Role::Patient { patient: Some(patient) };
            let theirs = || identity.user(login).is_ok_and(|user| user.role == role);
            if theirs() {
                return Ok(());
            }
            match identity.create_user(&NewUser { login, name, passphrase, role: role.clone() }) {
                // A run that was cut short may still be at it.
                Err(UserError::Taken(_)) if theirs() => Ok(()),
                created => created.map(|_| ()),
            }
        };
        let created = tokio::task::spawn_blocking(create).await.map_err(Error::internal)?;
        created.map_err(user_error)
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
        UserError::Busy => Error::Unavailable { part: "identity" },
        other => Error::internal(other),
    }
}
