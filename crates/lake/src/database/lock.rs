//! Locks that one process at a time holds; whoever dies loses them.

use super::{Connection, DatabaseError, hold};
use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

/// How long to wait before a lock is asked for again.
const PAUSE: Duration = Duration::from_millis(10);

/// How often a file is asked, for about a second: a process that another thread just starts holds
/// whatever that thread's process has locked, or had a moment ago, until it is a program of its own,
/// which a loaded machine may put off for long.
const TRIES: usize = 100;

/// Takes the lock of a file, which is made when it is not there; nothing when somebody else has it.
pub(crate) fn try_lock(file: &Path) -> io::Result<Option<File>> {
    let locked = File::create(file)?;
    for _ in 0..TRIES {
        match locked.try_lock() {
            Ok(()) => return Ok(Some(locked)),
            Err(TryLockError::WouldBlock) => sleep(PAUSE),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// A lock that is held: of a file or, so that processes of other machines are kept away, too, of the
/// session by which is written what it guards. With the session goes the lock, and the way to write.
pub(crate) enum Lock<'a> {
    File { _locked: File },
    Session(&'a Mutex<Connection>),
}

impl<'a> Lock<'a> {
    /// Takes the lock; nothing when somebody else has it.
    pub(crate) fn try_take(
        connection: &'a Mutex<Connection>,
        file: &Path,
    ) -> std::result::Result<Option<Self>, LockError> {
        if let Connection::Postgres(server) = &*hold(connection) {
            return Ok(server.try_lock()?.then(|| Self::Session(connection)));
        }
        Ok(try_lock(file)?.map(|locked| Self::File { _locked: locked }))
    }

    /// Waits for the lock.
    pub(crate) fn take(
        connection: &'a Mutex<Connection>,
        file: &Path,
    ) -> std::result::Result<Self, LockError> {
        loop {
            match Self::try_take(connection, file)? {
                Some(lock) => return Ok(lock),
                None => sleep(PAUSE),
            }
        }
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if let Self::Session(connection) = self
            && let Connection::Postgres(server) = &*hold(connection)
        {
            server.unlock();
        }
    }
}

/// A lock that can not be used.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum LockError {
    File(#[from] io::Error),
    Database(#[from] DatabaseError),
}
