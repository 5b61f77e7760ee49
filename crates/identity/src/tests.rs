//! The room as its callers see it.

mod sign_in;
mod tokens;
mod users;

use crate::{Department, Identity, Issuer, NewUser, Role, SignInError, SignedIn};
use aegle_model::{CentreId, Name, Timestamp};
use std::net::IpAddr;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// 2026-11-22T12:00:00Z
const NOW: Timestamp = Timestamp(1_795_348_800_000);
const SEED: [u8; 32] = [7; 32];
const PASSPHRASE: &str = "seven quiet herons on a roof";
const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// A centre in a folder of its own, with the doctor `morven` in department 1.
struct Centre {
    folder: tempfile::TempDir,
    identity: Identity,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn later(seconds: u64) -> Timestamp {
    Timestamp(NOW.0 + seconds * 1000)
}

fn issuer() -> Issuer {
    Issuer { centre: CentreId::from_array([3; 16]), name: "https://ustan.example".to_owned() }
}

fn doctor(departments: &[&str]) -> Role {
    let departments = departments.iter().map(|id| name(id)).collect();
    Role::Professional { id: name("207"), departments }
}

impl Centre {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let identity = open(&folder.path().join("users.db"), SEED, NOW);
        for (id, called) in [("1", "Oncology"), ("2", "Pharmacy")] {
            let department = Department { id: name(id), name: name(called) };
            identity.set_department(&department).unwrap();
        }
        let centre = Self { folder, identity };
        centre.create("morven", doctor(&["1"])).unwrap();
        centre
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    /// The same centre after a restart, with the key of `seed`.
    fn reopened(self, seed: [u8; 32], now: Timestamp) -> Self {
        let Self { folder, identity } = self;
        drop(identity);
        let identity = open(&folder.path().join("users.db"), seed, now);
        Self { folder, identity }
    }

    fn create(&self, login: &str, role: Role) -> Result<crate::User, crate::UserError> {
        let name = "Dr Morven Galbraith";
        self.identity.create_user(&NewUser { login, name, passphrase: PASSPHRASE, role })
    }

    fn sign_in(&self, login: &str, now: Timestamp) -> SignedIn {
        self.identity.sign_in(login, PASSPHRASE, HOME, now).unwrap()
    }

    fn guess(&self, login: &str, now: Timestamp) -> SignInError {
        self.identity.sign_in(login, "not the right pass phrase", HOME, now).unwrap_err()
    }

    fn hashes(&self) -> u64 {
        self.identity.hasher.computed()
    }
}

fn open(path: &std::path::Path, seed: [u8; 32], now: Timestamp) -> Identity {
    Identity::open(path, issuer(), &Zeroizing::new(seed), now).unwrap()
}
