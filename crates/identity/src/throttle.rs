//! Slows down whoever guesses: each failure after the first few doubles the wait.
//!
//! An account that is guessed at from everywhere waits, and an address that guesses at many
//! accounts waits. Logins that do not exist wait like those that do.

use crate::Login;
use crate::store::{Store, StoreError};
use aegle_model::Timestamp;
use aws_lc_rs::hmac;
use rusqlite::{OptionalExtension, Transaction, params};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// How failures turn into waiting.
pub(crate) struct Pace {
    /// Failures without any wait.
    free: u32,
    /// The longest wait.
    ceiling_s: u64,
    /// After so long without a failure all is forgotten.
    forget_s: u64,
}

/// At most about a hundred guesses a day at one account.
pub(crate) const ACCOUNT: Pace = Pace { free: 5, ceiling_s: 900, forget_s: 86_400 };
/// Wide, because a whole hospital may stand behind one address.
pub(crate) const ADDRESS: Pace = Pace { free: 50, ceiling_s: 60, forget_s: 3600 };

/// Logins without a user that are remembered, and addresses.
const REMEMBERED_MAX: usize = 10_000;

/// Failures without a success in between.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    count: u32,
    last: Timestamp,
}

impl Failures {
    /// Seconds to wait before the next attempt.
    pub(crate) fn wait_s(self, pace: &Pace, now: Timestamp) -> u64 {
        let Some(exponent) = self.count.checked_sub(pace.free) else { return 0 };
        let delay_s = 2_u64.saturating_pow(exponent).min(pace.ceiling_s);
        let passed_ms = now.0.saturating_sub(self.last.0);
        (delay_s * 1000).saturating_sub(passed_ms).div_ceil(1000)
    }

    /// One more failure.
    fn and_one(self, pace: &Pace, now: Timestamp) -> Self {
        let forgotten = now.0.saturating_sub(self.last.0) >= pace.forget_s * 1000;
        let count = if forgotten { 1 } else { self.count.saturating_add(1) };
        Self { count, last: self.last.max(now) }
    }

    /// One failure less: it was none.
    fn less_one(self) -> Self {
        Self { count: self.count.saturating_sub(1), ..self }
    }
}

/// Seconds to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait(pub(crate) u64);

/// Addresses that failed of late; lost at a restart.
#[derive(Default)]
pub(crate) struct Addresses(Mutex<BTreeMap<IpAddr, Failures>>);

impl Addresses {
    /// Counts an attempt as failed before it is made, so that attempts at the same time count too;
    /// or says how long to wait.
    pub(crate) fn attempt(&self, address: IpAddr, now: Timestamp) -> Result<(), Wait> {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = neighbourhood(address);
        let failures = addresses.get(&address).copied().unwrap_or_default();
        let wait_s = failures.wait_s(&ADDRESS, now);
        if wait_s > 0 {
            return Err(Wait(wait_s));
        }
        if addresses.len() >= REMEMBERED_MAX && !addresses.contains_key(&address) {
            forget_oldest(&mut addresses);
        }
        addresses.insert(address, failures.and_one(&ADDRESS, now));
        Ok(())
    }

    /// Takes one attempt back. Others from this address keep counting: a guesser with an account
    /// of its own must not wash itself clean.
    pub(crate) fn forgive(&self, address: IpAddr) {
        let mut addresses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let address = neighbourhood(address);
        if let Some(failures) = addresses.get_mut(&address) {
            *failures = failures.less_one();
        }
    }
}

fn forget_oldest(addresses: &mut BTreeMap<IpAddr, Failures>) {
    let oldest = addresses.iter().min_by_key(|(_, failures)| failures.last);
    if let Some(oldest) = oldest.map(|(address, _)| *address) {
        addresses.remove(&oldest);
    }
}

/// What one person controls: an IPv4 address, or the first 64 bits of an IPv6 address.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Failures per login, in the database. A login is kept as a keyed hash: people type pass phrases
/// into the wrong field.
pub(crate) struct Accounts<'a> {
    pub(crate) store: &'a Store,
    pub(crate) key: &'a hmac::Key,
}

impl Accounts<'_> {
    /// Counts an attempt as failed before it is made, or says how long to wait.
    pub(crate) fn attempt(
        &self,
        login: &Login,
        now: Timestamp,
    ) -> Result<Result<(), Wait>, StoreError> {
        let mark = self.mark(login);
        self.store.transact(|transaction| {
            let failures = failures(transaction, mark.as_ref())?;
            let wait_s = failures.wait_s(&ACCOUNT, now);
            if wait_s > 0 {
                return Ok(Err(Wait(wait_s)));
            }
            keep(transaction, login, mark.as_ref(), failures.and_one(&ACCOUNT, now))?;
            Ok(Ok(()))
        })
    }

    /// Forgets the failures of a login after a success.
    pub(crate) fn forget(&self, login: &Login) -> Result<(), StoreError> {
        let mark = self.mark(login);
        self.store.transact(|transaction| {
            transaction.execute("DELETE FROM attempts WHERE login = ?1", [mark.as_ref()])?;
            Ok(())
        })
    }

    /// Takes one attempt back: it was not made.
    pub(crate) fn forgive(&self, login: &Login) -> Result<(), StoreError> {
        let mark = self.mark(login);
        self.store.transact(|transaction| {
            let failures = failures(transaction, mark.as_ref())?;
            keep(transaction, login, mark.as_ref(), failures.less_one())
        })
    }

    fn mark(&self, login: &Login) -> hmac::Tag {
        hmac::sign(self.key, login.as_str().as_bytes())
    }
}

fn failures(transaction: &Transaction<'_>, mark: &[u8]) -> Result<Failures, StoreError> {
    let query = "SELECT failures, last_ms FROM attempts WHERE login = ?1";
    let found = transaction.query_row(query, [mark], |row| {
        Ok(Failures { count: row.get(0)?, last: Timestamp(row.get(1)?) })
    });
    Ok(found.optional()?.unwrap_or_default())
}

/// Keeps the failures of a login. Of logins without a user only the newest are kept, so that
/// nobody can fill the disk; those of users are never pushed out.
fn keep(
    transaction: &Transaction<'_>,
    login: &Login,
    mark: &[u8],
    failures: Failures,
) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO attempts (login, known, failures, last_ms)
         VALUES (?1, EXISTS (SELECT 1 FROM users WHERE login = ?2), ?3, ?4)
         ON CONFLICT (login) DO UPDATE
         SET known = excluded.known, failures = excluded.failures, last_ms = excluded.last_ms",
        params![mark, login.as_str(), failures.count, failures.last.0],
    )?;
    transaction.execute(
        "DELETE FROM attempts WHERE login IN (
             SELECT login FROM attempts WHERE known = 0 ORDER BY last_ms DESC LIMIT -1 OFFSET ?1)",
        [REMEMBERED_MAX],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000_000);

    fn after(count: u32, pace: &Pace) -> Failures {
        (0..count).fold(Failures::default(), |failures, _| failures.and_one(pace, START))
    }

    #[test]
    fn waits_double_up_to_a_ceiling() {
        let waits = [0, 4, 5, 6, 7, 14, 15, 4000]
            .map(|count| after(count, &ACCOUNT).wait_s(&ACCOUNT, START));
        assert_eq!(waits, [0, 0, 1, 2, 4, 512, 900, 900]);
    }

    #[test]
    fn waiting_ends_and_a_clock_that_steps_back_ends_nothing() {
        let failures = after(8, &ACCOUNT);
        let wait = |passed_ms: i64| {
            failures.wait_s(&ACCOUNT, Timestamp(START.0.saturating_add_signed(passed_ms)))
        };
        assert_eq!([0, 1, 7000, 7001, 8000, -5000].map(wait), [8, 8, 1, 1, 0, 8]);
    }

    #[test]
    fn a_quiet_day_is_forgotten() {
        let failures = after(30, &ACCOUNT);
        let [soon, late] = [86_399, 86_400].map(|passed_s| Timestamp(START.0 + passed_s * 1000));
        assert_eq!(failures.and_one(&ACCOUNT, soon).count, 31);
        assert_eq!(failures.and_one(&ACCOUNT, late).count, 1);
    }

    #[test]
    fn neighbours_in_one_ipv6_network_count_together() {
        let addresses = Addresses::default();
        let neighbour = |number: u32| format!("2001:db8:1:2::{number:x}").parse().unwrap();
        for number in 0..50 {
            assert_eq!(addresses.attempt(neighbour(number), START), Ok(()));
        }
        assert_eq!(addresses.attempt(neighbour(99), START), Err(Wait(1)));
        assert_eq!(addresses.attempt("2001:db8:1:3::1".parse().unwrap(), START), Ok(()));
        assert_eq!(
            neighbourhood("::ffff:192.0.2.7".parse().unwrap()),
            IpAddr::from([192, 0, 2, 7])
        );
    }

    #[test]
    fn memory_for_addresses_is_bounded_and_the_oldest_go_first() {
        let addresses = Addresses::default();
        for number in 0..u32::try_from(REMEMBERED_MAX).unwrap() + 10 {
            let now = Timestamp(START.0 + u64::from(number));
            addresses.attempt(IpAddr::from(number.to_be_bytes()), now).unwrap();
        }
        let kept = addresses.0.into_inner().unwrap();
        assert_eq!(kept.len(), REMEMBERED_MAX);
        assert!(!kept.contains_key(&IpAddr::from([0, 0, 0, 9])));
        assert!(kept.contains_key(&IpAddr::from([0, 0, 0, 10])));
    }
}
