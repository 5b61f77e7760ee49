//! Departments and who works in them.

use crate::register::name;
use crate::{Identity, StoreError};
use aegle_model::Name;
use rusqlite::{Transaction, params};

/// A department of this centre.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Department {
    /// The centre's own number.
    pub id: Name,
    /// What people call it.
    pub name: Name,
}

/// Somebody who works at this centre, as colleagues and patients see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaffMember {
    /// The centre's own staff number.
    pub id: Name,
    /// How the person is called.
    pub name: String,
    /// The centre's department numbers, in order.
    pub departments: Vec<Name>,
}

impl Identity {
    /// Adds a department, or gives the one with this number another name.
    pub fn set_department(&self, department: &Department) -> Result<(), StoreError> {
        self.store.transact(|transaction| {
            let insert = "INSERT INTO departments (id, name) VALUES (?1, ?2)
                          ON CONFLICT (id) DO UPDATE SET name = excluded.name";
            let Department { id, name } = department;
            transaction.execute(insert, params![id.as_str(), name.as_str()])?;
            Ok(())
        })
    }

    /// All departments, by number.
    pub fn departments(&self) -> Result<Vec<Department>, StoreError> {
        self.store.read(|transaction| {
            let mut query = transaction.prepare("SELECT id, name FROM departments ORDER BY id")?;
            let rows = query
                .query_map([], |row| Ok(Department { id: name(row, 0)?, name: name(row, 1)? }))?;
            rows.collect()
        })
    }

    /// All professionals who are not disabled, by staff number.
    pub fn staff(&self) -> Result<Vec<StaffMember>, StoreError> {
        self.store.read(members)
    }
}

fn members(transaction: &Transaction<'_>) -> rusqlite::Result<Vec<StaffMember>> {
    let mut query = transaction.prepare(
        "SELECT staff, name, department FROM users LEFT JOIN memberships ON user = users.id
         WHERE role = 'professional' AND NOT disabled ORDER BY staff, department",
    )?;
    let mut rows = query.query([])?;
    let mut members: Vec<StaffMember> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = name(row, 0)?;
        if members.last().is_none_or(|last| last.id != id) {
            members.push(StaffMember { id, name: row.get(1)?, departments: Vec::new() });
        }
        let belongs = row.get_ref(2)? != rusqlite::types::ValueRef::Null;
        if let Some(member) = members.last_mut().filter(|_| belongs) {
            member.departments.push(name(row, 2)?);
        }
    }
    Ok(members)
}
