//! The register of users: made, found, changed.

use crate::user::NAME_MAX;
use crate::{Identity, Login, NewUser, Role, User, UserError, UserId, passphrase};
use aegle_model::{Name, PatientId};
use rusqlite::{OptionalExtension, Row, Transaction, params};

impl Identity {
    /// Makes a user. Hashes, so it takes a while.
    pub fn create_user(&self, new: &NewUser<'_>) -> Result<User, UserError> {
        let login = Login::new(new.login)?;
        passphrase::check(new.passphrase)?;
        let name = new.name.trim();
        if !(1..=NAME_MAX).contains(&name.len()) || name.chars().any(char::is_control) {
            return Err(UserError::Name);
        }
        let hash = self.hasher.hash(new.passphrase).map_err(|_| UserError::Busy)?;
        let id = UserId(random());
        let user =
            User { id, login, name: name.to_owned(), role: new.role.clone(), disabled: false };
        self.store.transact(|transaction| insert(transaction, &user, &hash))?;
        self.user(user.login.as_str())
    }

    /// The user with this login.
    pub fn user(&self, login: &str) -> Result<User, UserError> {
        let login = Login::new(login)?;
        self.store
            .read(|transaction| find(transaction, "login = ?1", login.as_str()))?
            .ok_or(UserError::Unknown)
    }

    /// Puts a professional into exactly these departments, from the next request on.
    pub fn set_departments(&self, login: &str, departments: &[Name]) -> Result<(), UserError> {
        let login = Login::new(login)?;
        self.store.transact(|transaction| {
            let user = find(transaction, "login = ?1", login.as_str())?;
            let user = user.ok_or(UserError::Unknown)?;
            if !matches!(user.role, Role::Professional { .. }) {
                return Err(UserError::Role("professional"));
            }
            transaction.execute("DELETE FROM memberships WHERE user = ?1", [user.id.0])?;
            join(transaction, user.id, departments)
        })
    }

    /// Ends a user: no sign-in, and tokens already given are refused from now on.
    pub fn disable(&self, login: &str) -> Result<(), UserError> {
        let login = Login::new(login)?;
        self.store.transact(|transaction| {
            let change = "UPDATE users SET disabled = 1 WHERE login = ?1";
            let changed = transaction.execute(change, [login.as_str()])?;
            if changed == 1 { Ok(()) } else { Err(UserError::Unknown) }
        })
    }

    /// Says which patient of the network a user is. Once only: a user never becomes another
    /// patient, and two users are never the same one.
    pub fn bind_patient(&self, login: &str, patient: PatientId) -> Result<(), UserError> {
        let login = Login::new(login)?;
        self.store.transact(|transaction| {
            let user = find(transaction, "login = ?1", login.as_str())?;
            let user = user.ok_or(UserError::Unknown)?;
            match user.role {
                Role::Patient { patient: None } => (),
                Role::Patient { patient: Some(bound) } if bound == patient => return Ok(()),
                Role::Patient { .. } => return Err(UserError::Bound),
                _ => return Err(UserError::Role("patient")),
            }
            refuse_taken(transaction, "patient", patient.as_bytes())?;
            let change = "UPDATE users SET patient = ?1 WHERE id = ?2";
            transaction.execute(change, params![patient.as_bytes(), user.id.0])?;
            Ok(())
        })
    }
}

/// Random bytes from the operating system.
pub(crate) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn insert(transaction: &Transaction<'_>, user: &User, hash: &str) -> Result<(), UserError> {
    let (patient, staff, departments) = match &user.role {
        Role::Patient { patient } => (*patient, None, &[][..]),
        Role::Professional { id, departments } => (None, Some(id.as_str()), &departments[..]),
        Role::Administrator | Role::Auditor => (None, None, &[][..]),
    };
    refuse_taken(transaction, "login", user.login.as_str())?;
    if let Some(staff) = staff {
        refuse_taken(transaction, "staff", staff)?;
    }
    if let Some(patient) = patient {
        refuse_taken(transaction, "patient", patient.as_bytes())?;
    }
    let patient = patient.as_ref().map(PatientId::as_bytes);
    transaction.execute(
        "INSERT INTO users (id, login, name, role, patient, staff, passphrase)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![user.id.0, user.login.as_str(), user.name, user.role.name(), patient, staff, hash],
    )?;
    join(transaction, user.id, departments)
}

fn refuse_taken(
    transaction: &Transaction<'_>,
    column: &'static str,
    value: impl rusqlite::ToSql,
) -> Result<(), UserError> {
    let query = format!("SELECT EXISTS (SELECT 1 FROM users WHERE {column} = ?1)");
    let taken = transaction.query_row(&query, [value], |row| row.get(0))?;
    let what = if column == "staff" { "staff number" } else { column };
    if taken { Err(UserError::Taken(what)) } else { Ok(()) }
}

fn join(
    transaction: &Transaction<'_>,
    user: UserId,
    departments: &[Name],
) -> Result<(), UserError> {
    for department in departments {
        let joined = transaction.execute(
            "INSERT OR IGNORE INTO memberships (user, department)
             SELECT ?1, id FROM departments WHERE id = ?2",
            params![user.0, department.as_str()],
        )?;
        let known = "SELECT EXISTS (SELECT 1 FROM departments WHERE id = ?1)";
        if joined == 0 && !transaction.query_row(known, [department.as_str()], |row| row.get(0))? {
            return Err(UserError::Department(department.clone()));
        }
    }
    Ok(())
}

/// The user for whom `condition` holds of `value`.
pub(crate) fn find(
    transaction: &Transaction<'_>,
    condition: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<Option<User>> {
    let query = format!(
        "SELECT id, login, name, role, patient, staff, disabled FROM users WHERE {condition}"
    );
    let mut query = transaction.prepare_cached(&query)?;
    query.query_row([value], |row| read(transaction, row)).optional()
}

/// The user with this id.
pub(crate) fn find_by_id(
    transaction: &Transaction<'_>,
    id: UserId,
) -> rusqlite::Result<Option<User>> {
    find(transaction, "id = ?1", id.0)
}

fn read(transaction: &Transaction<'_>, row: &Row<'_>) -> rusqlite::Result<User> {
    let id = UserId(row.get(0)?);
    let login: String = row.get(1)?;
    let role: String = row.get(3)?;
    let role = match role.as_str() {
        "patient" => {
            let patient: Option<[u8; 16]> = row.get(4)?;
            Role::Patient { patient: patient.map(PatientId::from_array) }
        }
        "professional" => {
            Role::Professional { id: name(row, 5)?, departments: departments_of(transaction, id)? }
        }
        "administrator" => Role::Administrator,
        _ => Role::Auditor,
    };
    let login = Login::new(&login).map_err(|error| unreadable(1, error))?;
    Ok(User { id, login, name: row.get(2)?, role, disabled: row.get(6)? })
}

fn departments_of(transaction: &Transaction<'_>, user: UserId) -> rusqlite::Result<Vec<Name>> {
    let query = "SELECT department FROM memberships WHERE user = ?1 ORDER BY department";
    let mut query = transaction.prepare_cached(query)?;
    query.query_map([user.0], |row| name(row, 0))?.collect()
}

/// The name in this column of a row.
pub(crate) fn name(row: &Row<'_>, column: usize) -> rusqlite::Result<Name> {
    Name::new(row.get::<_, String>(column)?).map_err(|error| unreadable(column, error))
}

fn unreadable(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
