//! What a centre remembers beside ledger, lake and users: enrolments under way, link offers, parts it has handed out,
//! transactions that must reach the ledger.

use crate::Outbox;
use crate::submit::now;
use aegle_ledger::TxId;
use aegle_model::{CentreId, PatientId, RequestId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _, params};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::{io, iter, thread};
use tokio::sync::oneshot;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("could not use the centre's store")]
pub struct StoreError(#[source] Cause);

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// All that were to be written at once share why they were not.
    #[error("{0}")]
    Shared(Arc<rusqlite::Error>),
    #[error("its writing thread could not start, or is gone")]
    Thread(#[source] Option<io::Error>),
}

impl<T: Into<Cause>> From<T> for StoreError {
    fn from(cause: T) -> Self {
        Self(cause.into())
    }
}

/// `SQLite` in one file.
pub struct Store {
    connections: Arc<Mutex<Connections>>,
    outgoing: mpsc::Sender<Outgoing>,
}

/// A transaction that waits to be kept, and who waits for it.
struct Outgoing {
    what: What,
    bytes: Vec<u8>,
    kept: oneshot::Sender<Result<(), Arc<rusqlite::Error>>>,
}

/// What goes out.
enum What {
    /// Any transaction, and when it is kept.
    Transaction(TxId, Timestamp),
    /// A change of a patient's rules, and when it is kept.
    Change(ChangeKey, Timestamp),
}

/// What names a change of rules here: the patient and the transaction's nonce.
pub(crate) type ChangeKey = (PatientId, u64);

/// A change of rules that the ledger does not have yet, or refused.
pub(crate) struct KeptChange {
    /// The signed transaction.
    pub(crate) transaction: Vec<u8>,
    /// The outcome, if it was refused.
    pub(crate) refused: Option<Vec<u8>>,
}

/// Two ways to the same file. Only what is durable waits for the disk, and takes along whatever was
/// noted before it; the rest may be lost with the power, not with the process.
struct Connections {
    durable: Connection,
    relaxed: Connection,
}

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE IF NOT EXISTS offer (
        patient BLOB, centre BLOB, message BLOB NOT NULL, at INTEGER NOT NULL,
        PRIMARY KEY (patient, centre)
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS offer_centre ON offer (centre);
    CREATE TABLE IF NOT EXISTS enrolment (
        login TEXT PRIMARY KEY, patient BLOB NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS handed_out (
        request BLOB PRIMARY KEY, at INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE INDEX IF NOT EXISTS handed_out_at ON handed_out (at);
    CREATE TABLE IF NOT EXISTS outbox (
        id BLOB PRIMARY KEY, body BLOB NOT NULL, at INTEGER NOT NULL
    ) WITHOUT ROWID, STRICT;
    CREATE TABLE IF NOT EXISTS change (
        number INTEGER PRIMARY KEY, patient BLOB NOT NULL, nonce INTEGER NOT NULL,
        body BLOB NOT NULL, at INTEGER NOT NULL, refused BLOB,
        UNIQUE (patient, nonce)
    ) STRICT;
    CREATE TABLE IF NOT EXISTS erasure (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
";

/// How long a patient can hear that a change was refused.
const TOLD_FOR_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// The most open offers through one centre; more are refused.
const OFFERS_MAX: u32 = 1_000;

impl Store {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let connect = |synchronous: &str| -> Result<_, rusqlite::Error> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(std::time::Duration::from_secs(5))?;
            connection.pragma_update(None, "synchronous", synchronous)?;
            // Offers hold sealed record keys, which nobody may find after they were dropped.
            connection.pragma_update(None, "secure_delete", "ON")?;
            connection.execute_batch(SCHEMA)?;
            Ok(connection)
        };
        let (durable, relaxed) = (connect("FULL")?, connect("NORMAL")?);
        date_outbox(&durable)?;
        let connections = Arc::new(Mutex::new(Connections { durable, relaxed }));
        let (outgoing, waiting) = mpsc::channel();
        let shared = Arc::clone(&connections);
        let writer = thread::Builder::new().name("aegle-outbox".to_owned());
        let started = writer.spawn(move || keep(&shared, &waiting));
        started.map_err(|error| Cause::Thread(Some(error)))?;
        Ok(Self { connections, outgoing })
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        lock(&self.connections)
    }

    /// Notes that the part of `request` leaves now; false when it has left before. Forgets those of
    /// before `past`, whose receipts permit nothing any more.
    pub(crate) fn hand_out(
        &self,
        request: RequestId,
        now: Timestamp,
        past: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut connections = self.connections();
        let transaction = connections.relaxed.transaction()?;
        let at = |time: Timestamp| i64::try_from(time.0).unwrap_or(i64::MAX);
        transaction.prepare_cached("DELETE FROM handed_out WHERE at < ?1")?.execute([at(past)])?;
        let first = transaction
            .prepare_cached("INSERT OR IGNORE INTO handed_out VALUES (?1, ?2)")?
            .execute(params![request.as_bytes(), at(now)])?;
        transaction.commit()?;
        Ok(first == 1)
    }

    /// The pseudonym of the enrolment that was begun with this login; `fresh` when none was.
    pub(crate) fn begin_enrolment(
        &self,
        login: &str,
        fresh: PatientId,
    ) -> Result<PatientId, StoreError> {
        let connections = self.connections();
        let connection = &connections.durable;
        let insert = "INSERT OR IGNORE INTO enrolment VALUES (?1, ?2)";
        connection.execute(insert, params![login, fresh.as_bytes()])?;
        let select = "SELECT patient FROM enrolment WHERE login = ?1";
        let patient: [u8; 16] = connection.query_row(select, [login], |row| row.get(0))?;
        Ok(PatientId::from_array(patient))
    }

    /// The enrolment is done.
    pub(crate) fn end_enrolment(&self, login: &str) -> Result<(), StoreError> {
        self.connections().relaxed.execute("DELETE FROM enrolment WHERE login = ?1", [login])?;
        Ok(())
    }

    /// Keeps an offer; a newer one of the same patient through the same centre replaces it. False
    /// when too many came through that centre.
    pub(crate) fn put_offer(
        &self,
        (patient, from): (PatientId, CentreId),
        message: &[u8],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let connections = self.connections();
        let connection = &connections.durable;
        let sql = "SELECT count(*) FROM offer WHERE centre = ?1";
        let count: u32 = connection.query_row(sql, [from.as_bytes()], |row| row.get(0))?;
        if count >= OFFERS_MAX {
            return Ok(false);
        }
        let at = i64::try_from(now.0).unwrap_or(i64::MAX);
        let sql = "INSERT OR REPLACE INTO offer VALUES (?1, ?2, ?3, ?4)";
        connection.execute(sql, params![patient.as_bytes(), from.as_bytes(), message, at])?;
        Ok(true)
    }

    /// All open offers, oldest first.
    pub(crate) fn offers(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let connections = self.connections();
        let connection = &connections.durable;
        let mut select = connection.prepare_cached("SELECT message FROM offer ORDER BY at")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// An offer was accepted: all of this patient are settled.
    pub(crate) fn drop_offers(&self, patient: PatientId) -> Result<(), StoreError> {
        self.connections()
            .relaxed
            .execute("DELETE FROM offer WHERE patient = ?1", [patient.as_bytes()])?;
        Ok(())
    }

    /// Keeps a signed transaction until it is final. Waits until it is on disk, with whatever else
    /// waits: one flush is for all.
    pub(crate) async fn put_outbox(&self, id: TxId, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.put(What::Transaction(id, now()), bytes).await
    }

    /// Keeps a change of rules, in the order of changes, unless one of this name is kept already.
    /// Waits until it is on disk. Forgets what was refused long ago.
    pub(crate) async fn put_change(
        &self,
        change: ChangeKey,
        bytes: Vec<u8>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.put(What::Change(change, now), bytes).await
    }

    async fn put(&self, what: What, bytes: Vec<u8>) -> Result<(), StoreError> {
        let (kept, is_kept) = oneshot::channel();
        let gone = Cause::Thread(None);
        if self.outgoing.send(Outgoing { what, bytes, kept }).is_err() {
            return Err(gone.into());
        }
        is_kept.await.map_err(|_| gone)?.map_err(Cause::Shared)?;
        Ok(())
    }

    /// A transaction expired and was signed again.
    pub(crate) fn replace_outbox(
        &self,
        (old, new): (&TxId, &TxId),
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let mut connections = self.connections();
        let transaction = connections.durable.transaction()?;
        // It waits as long as the one before it.
        let insert = "INSERT OR IGNORE INTO outbox SELECT ?1, ?2, at FROM outbox WHERE id = ?3";
        transaction.execute(insert, params![new.as_bytes(), bytes, old.as_bytes()])?;
        transaction.execute("DELETE FROM outbox WHERE id = ?1", [old.as_bytes()])?;
        Ok(transaction.commit()?)
    }

    /// A transaction is final.
    pub(crate) fn drop_outbox(&self, id: &TxId) -> Result<(), StoreError> {
        let connections = self.connections();
        let connection = &connections.relaxed;
        let mut delete = connection.prepare_cached("DELETE FROM outbox WHERE id = ?1")?;
        delete.execute([id.as_bytes()])?;
        Ok(())
    }

    /// The transaction by which the ledger is to be told of an erasure.
    pub(crate) fn erasure(&self, number: i64) -> Result<Option<Vec<u8>>, StoreError> {
        let connections = self.connections();
        let select = "SELECT body FROM erasure WHERE number = ?1";
        let kept = connections.durable.query_row(select, [number], |row| row.get(0));
        Ok(kept.optional()?)
    }

    /// Keeps that transaction, in place of one that expired.
    pub(crate) fn keep_erasure(&self, number: i64, bytes: &[u8]) -> Result<(), StoreError> {
        let insert = "INSERT OR REPLACE INTO erasure VALUES (?1, ?2)";
        self.connections().durable.execute(insert, params![number, bytes])?;
        Ok(())
    }

    /// The ledger was told. What was kept of the patient goes with it, also from the file's log.
    pub(crate) fn drop_erasure(&self, number: i64, patient: PatientId) -> Result<(), StoreError> {
        let mut connections = self.connections();
        let transaction = connections.durable.transaction()?;
        transaction.execute("DELETE FROM offer WHERE patient = ?1", [patient.as_bytes()])?;
        transaction.execute("DELETE FROM change WHERE patient = ?1", [patient.as_bytes()])?;
        transaction.execute("DELETE FROM erasure WHERE number = ?1", [number])?;
        transaction.commit()?;
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        Ok(connections.durable.query_row(checkpoint, [], |_| Ok(()))?)
    }

    /// What waits in the outbox.
    pub(crate) fn outbox(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let connections = self.connections();
        let connection = &connections.durable;
        let mut select = connection.prepare_cached("SELECT body FROM outbox")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How much of the outbox and of the changes of rules waits for the ledger, and since when.
    pub(crate) fn waiting_for_ledger(&self) -> Result<Outbox, StoreError> {
        let sql = "SELECT count(*), min(at) FROM (
            SELECT at FROM outbox UNION ALL SELECT at FROM change WHERE refused IS NULL)";
        let connections = self.connections();
        let mut select = connections.durable.prepare_cached(sql)?;
        let found = select.query_row([], |row| {
            let since: Option<i64> = row.get(1)?;
            let since = since.map(|at| Timestamp(u64::try_from(at).unwrap_or(0)));
            Ok(Outbox { count: row.get(0)?, since })
        });
        Ok(found?)
    }

    /// A change of rules that is kept.
    pub(crate) fn change(
        &self,
        (patient, nonce): ChangeKey,
    ) -> Result<Option<KeptChange>, StoreError> {
        let connections = self.connections();
        let sql = "SELECT body, refused FROM change WHERE patient = ?1 AND nonce = ?2";
        let mut select = connections.durable.prepare_cached(sql)?;
        let kept = select.query_row(params![patient.as_bytes(), signed(nonce)], KeptChange::read);
        Ok(kept.optional()?)
    }

    /// A patient's changes that are kept, oldest first.
    pub(crate) fn changes(&self, patient: PatientId) -> Result<Vec<KeptChange>, StoreError> {
        let connections = self.connections();
        let sql = "SELECT body, refused FROM change WHERE patient = ?1 ORDER BY number";
        let mut select = connections.durable.prepare_cached(sql)?;
        let kept = select.query_map([patient.as_bytes()], KeptChange::read)?;
        Ok(kept.collect::<Result<_, _>>()?)
    }

    /// The patients with changes that wait.
    pub(crate) fn waiting(&self) -> Result<Vec<PatientId>, StoreError> {
        let connections = self.connections();
        let sql = "SELECT DISTINCT patient FROM change WHERE refused IS NULL";
        let mut select = connections.durable.prepare_cached(sql)?;
        let patients = select.query_map([], |row| Ok(PatientId::from_array(row.get(0)?)))?;
        Ok(patients.collect::<Result<_, _>>()?)
    }

    /// A change expired and was signed again.
    pub(crate) fn replace_change(
        &self,
        (patient, nonce): ChangeKey,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let sql = "UPDATE change SET body = ?3 WHERE patient = ?1 AND nonce = ?2";
        let connections = self.connections();
        connections.durable.execute(sql, params![patient.as_bytes(), signed(nonce), bytes])?;
        Ok(())
    }

    /// The ledger refused a change; that is kept until the patient has heard of it.
    pub(crate) fn refuse_change(
        &self,
        (patient, nonce): ChangeKey,
        outcome: &[u8],
    ) -> Result<(), StoreError> {
        let sql = "UPDATE change SET refused = ?3 WHERE patient = ?1 AND nonce = ?2";
        let connections = self.connections();
        connections.durable.execute(sql, params![patient.as_bytes(), signed(nonce), outcome])?;
        Ok(())
    }

    /// The ledger has a change, or the patient has heard that it was refused.
    pub(crate) fn drop_change(&self, (patient, nonce): ChangeKey) -> Result<(), StoreError> {
        let sql = "DELETE FROM change WHERE patient = ?1 AND nonce = ?2";
        let connections = self.connections();
        connections.relaxed.execute(sql, params![patient.as_bytes(), signed(nonce)])?;
        Ok(())
    }
}

impl KeptChange {
    fn read(row: &rusqlite::Row<'_>) -> Result<Self, rusqlite::Error> {
        Ok(Self { transaction: row.get(0)?, refused: row.get(1)? })
    }
}

/// Writes what is to go out, until the store is dropped.
fn keep(connections: &Mutex<Connections>, waiting: &mpsc::Receiver<Outgoing>) {
    while let Ok(first) = waiting.recv() {
        let batch: Vec<_> = iter::once(first).chain(waiting.try_iter()).collect();
        let written = insert(&mut lock(connections).durable, &batch).map_err(Arc::new);
        for outgoing in batch {
            // Whoever no longer waits needs no answer.
            let _ = outgoing.kept.send(written.clone());
        }
    }
}

fn insert(durable: &mut Connection, batch: &[Outgoing]) -> Result<(), rusqlite::Error> {
    let transaction = durable.transaction()?;
    for Outgoing { what, bytes, .. } in batch {
        match what {
            What::Transaction(id, now) => transaction
                .prepare_cached("INSERT OR IGNORE INTO outbox VALUES (?1, ?2, ?3)")?
                .execute(params![id.as_bytes(), bytes, signed(now.0)])?,
            What::Change(change, now) => insert_change(&transaction, *change, bytes, *now)?,
        };
    }
    transaction.commit()
}

/// An outbox that was made before it said since when: what is in it waits from now on.
fn date_outbox(connection: &Connection) -> Result<(), rusqlite::Error> {
    let sql = "SELECT count(*) FROM pragma_table_info('outbox') WHERE name = 'at'";
    let dated: u32 = connection.query_row(sql, [], |row| row.get(0))?;
    if dated == 0 {
        let at = signed(now().0);
        let add = format!("ALTER TABLE outbox ADD COLUMN at INTEGER NOT NULL DEFAULT {at}");
        connection.execute_batch(&add)?;
    }
    Ok(())
}

fn insert_change(
    connection: &Connection,
    (patient, nonce): ChangeKey,
    bytes: &[u8],
    now: Timestamp,
) -> Result<usize, rusqlite::Error> {
    let past = now.0.saturating_sub(TOLD_FOR_MS);
    let sql = "DELETE FROM change WHERE refused IS NOT NULL AND at < ?1";
    connection.prepare_cached(sql)?.execute([signed(past)])?;
    let sql = "INSERT OR IGNORE INTO change (patient, nonce, body, at) VALUES (?1, ?2, ?3, ?4)";
    let values = params![patient.as_bytes(), signed(nonce), bytes, signed(now.0)];
    connection.prepare_cached(sql)?.execute(values)
}

/// `SQLite` knows signed integers only; the bits are the same.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn lock(connections: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegle_model::Hash;
    use futures::future::join_all;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("centre.db")).unwrap();
        (folder, store)
    }

    fn patient(byte: u8) -> PatientId {
        PatientId::from_array([byte; 16])
    }

    #[test]
    fn a_part_leaves_once_until_it_is_forgotten() {
        let (_folder, store) = store();
        let request = RequestId::from_array([1; 16]);
        let leaves = |now, past| store.hand_out(request, Timestamp(now), Timestamp(past)).unwrap();
        assert!(leaves(10, 0));
        assert!(!leaves(11, 0));
        assert!(!leaves(12, 10));
        assert!(leaves(13, 11));
    }

    #[test]
    fn an_enrolment_keeps_its_first_pseudonym_until_it_ends() {
        let (_folder, store) = store();
        assert_eq!(store.begin_enrolment("eve", patient(1)).unwrap(), patient(1));
        assert_eq!(store.begin_enrolment("eve", patient(2)).unwrap(), patient(1));
        store.end_enrolment("eve").unwrap();
        assert_eq!(store.begin_enrolment("eve", patient(3)).unwrap(), patient(3));
    }

    #[test]
    fn offers_of_two_centres_stand_side_by_side_and_are_bounded() {
        let (_folder, store) = store();
        let (one, two) = (CentreId::from_array([1; 16]), CentreId::from_array([2; 16]));
        for (from, message) in [(one, b"a"), (two, b"b"), (one, b"c")] {
            assert!(store.put_offer((patient(1), from), message, Timestamp(1)).unwrap());
        }
        let mut offers = store.offers().unwrap();
        offers.sort();
        assert_eq!(offers, [b"b".to_vec(), b"c".to_vec()]);
        store.drop_offers(patient(1)).unwrap();
        assert!(store.offers().unwrap().is_empty());
        for number in 0..OFFERS_MAX {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_le_bytes());
            let whose = (PatientId::from_array(id), one);
            assert!(store.put_offer(whose, b"x", Timestamp(1)).unwrap());
        }
        assert!(!store.put_offer((patient(9), one), b"x", Timestamp(1)).unwrap());
        assert!(store.put_offer((patient(9), two), b"x", Timestamp(1)).unwrap());
    }

    #[tokio::test]
    async fn many_transactions_go_to_the_outbox_at_once() {
        let (_folder, store) = store();
        let ids = (0..100).map(|byte| Hash::from_array([byte; 32]));
        let kept = ids.map(|id| store.put_outbox(id, id.as_bytes().to_vec()));
        join_all(kept).await.into_iter().for_each(|kept| kept.unwrap());
        assert_eq!(store.outbox().unwrap().len(), 100);
    }

    #[tokio::test]
    async fn a_change_is_kept_once_and_in_order_until_it_is_settled() {
        let (folder, store) = store();
        let key = |nonce| (patient(1), nonce);
        for (nonce, bytes) in [(9, b"a"), (u64::MAX, b"b"), (9, b"c")] {
            store.put_change(key(nonce), bytes.to_vec(), Timestamp(5)).await.unwrap();
        }
        store.put_change((patient(2), 9), b"d".to_vec(), Timestamp(5)).await.unwrap();
        drop(store);
        let store = Store::open(&folder.path().join("centre.db")).unwrap();
        let kept = || -> Vec<_> {
            store.changes(patient(1)).unwrap().into_iter().map(|kept| kept.transaction).collect()
        };
        assert_eq!(kept(), [b"a", b"b"]);
        store.replace_change(key(9), b"e").unwrap();
        assert_eq!(kept(), [b"e", b"b"]);
        store.refuse_change(key(9), b"no").unwrap();
        assert_eq!(store.change(key(9)).unwrap().unwrap().refused.unwrap(), b"no");
        store.drop_change(key(u64::MAX)).unwrap();
        assert!(store.change(key(u64::MAX)).unwrap().is_none());
        assert_eq!(store.waiting().unwrap(), [patient(2)]);
        for (after, left) in [(TOLD_FOR_MS, 1), (TOLD_FOR_MS + 1, 0)] {
            let now = Timestamp(5 + after);
            store.put_change((patient(3), 1), b"f".to_vec(), now).await.unwrap();
            assert_eq!(kept().len(), left);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_kept_is_told_to_everyone_who_waits() {
        let (_folder, store) = store();
        store.connections().durable.execute_batch("DROP TABLE outbox").unwrap();
        let kept = [1, 2].map(|byte| store.put_outbox(Hash::from_array([byte; 32]), vec![byte]));
        assert!(join_all(kept).await.iter().all(Result::is_err));
    }

    #[tokio::test]
    async fn the_outbox_survives_and_a_transaction_that_was_signed_again_takes_its_place() {
        let (folder, store) = store();
        let (old, new) = (Hash::from_array([1; 32]), Hash::from_array([2; 32]));
        store.put_outbox(old, b"old".to_vec()).await.unwrap();
        store.replace_outbox((&old, &new), b"new").unwrap();
        drop(store);
        let store = Store::open(&folder.path().join("centre.db")).unwrap();
        assert_eq!(store.outbox().unwrap(), [b"new".to_vec()]);
        store.drop_outbox(&new).unwrap();
        assert!(store.outbox().unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_waits_is_counted_and_dated_also_after_it_was_signed_again() {
        let (_folder, store) = store();
        assert_eq!(store.waiting_for_ledger().unwrap(), Outbox::default());
        store.put_change((patient(1), 1), b"a".to_vec(), Timestamp(5)).await.unwrap();
        store.put_change((patient(1), 2), b"b".to_vec(), Timestamp(7)).await.unwrap();
        let waiting = || store.waiting_for_ledger().unwrap();
        assert_eq!(waiting(), Outbox { count: 2, since: Some(Timestamp(5)) });
        store.refuse_change((patient(1), 1), b"no").unwrap();
        assert_eq!(waiting(), Outbox { count: 1, since: Some(Timestamp(7)) });
        store.drop_change((patient(1), 2)).unwrap();
        let (old, new) = (Hash::from_array([1; 32]), Hash::from_array([2; 32]));
        store.put_outbox(old, b"old".to_vec()).await.unwrap();
        let before = waiting();
        assert!(before.count == 1 && before.since.is_some_and(|since| since <= now()));
        store.replace_outbox((&old, &new), b"new").unwrap();
        assert_eq!(waiting(), before);
    }

    #[tokio::test]
    async fn an_outbox_without_times_gets_them_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("centre.db");
        let old =
            "CREATE TABLE outbox (id BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID, STRICT;
            INSERT INTO outbox VALUES (x'01', x'02')";
        Connection::open(&path).unwrap().execute_batch(old).unwrap();
        let before = now();
        for _ in 0..2 {
            let store = Store::open(&path).unwrap();
            let Outbox { count, since } = store.waiting_for_ledger().unwrap();
            assert!(count == 1 && since.is_some_and(|since| since >= before && since <= now()));
        }
    }
}
