//! The same tests with a lake that several machines could share: on `PostgreSQL` and an object store.
//!
//! One test starts the servers and runs all others again, each with a database and a prefix of its
//! own. Which they are stands in a file of the test's folder, so that its child processes find them.

use super::garage::{self, Cluster};
use super::servers::{self, BUCKET};
use crate::database::{self, Half};
use crate::remote::wait;
use crate::{Bucket, BucketError, Place, PostgresAt, index, keys};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path as Location;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use zeroize::Zeroizing;

/// The ports of the database and of the object store, with a space between them.
const SERVERS: &str = "AEGLE_LAKE_TEST_SERVERS";
/// Set when the object store is a [cluster](super::garage).
const IS_CLUSTER: &str = "AEGLE_LAKE_TEST_CLUSTER";

fn ports() -> Option<(u16, u16)> {
    let ports = std::env::var(SERVERS).ok()?;
    let (database, store) = ports.split_once(' ').unwrap();
    Some((database.parse().unwrap(), store.parse().unwrap()))
}

/// Whether this run is the one with servers.
pub(crate) fn is_used() -> bool {
    ports().is_some()
}

fn url(port: u16, database: &str) -> String {
    format!("postgres://owner@127.0.0.1:{port}/{database}")
}

fn sql(port: u16, sql: String) {
    wait(async {
        let mut server = PgConnection::connect(&url(port, "postgres")).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.unwrap();
        server.close().await.unwrap();
    });
}

/// A database and a prefix for the lake of a folder.
pub(crate) fn make(folder: &Path) {
    let Some((database, _)) = ports() else { return };
    sql(database, format!("CREATE DATABASE {}", new_name(folder)));
}

/// Removes the database of the lake of a folder: hundreds of them are many files.
pub(crate) fn remove(folder: &Path) {
    if let (Some((database, _)), Some(name)) = (ports(), name(folder)) {
        sql(database, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
    }
}

fn new_name(folder: &Path) -> String {
    let name = format!("lake_{}", hex::encode(crate::crypt::random::<8>()));
    fs::write(folder.join("servers"), &name).unwrap();
    name
}

fn name(folder: &Path) -> Option<String> {
    fs::read_to_string(folder.join("servers")).ok()
}

/// A place at servers.
pub(crate) fn at((database, store): (u16, u16), name: &str, folder: PathBuf) -> Place {
    let metadata = PostgresAt::new(&url(database, name), None).unwrap();
    let objects = Bucket {
        url: format!("s3://{BUCKET}/{name}"),
        endpoint: Some(format!("http://127.0.0.1:{store}")),
        region: Some("eu-west-1".to_owned()),
        access_key: Some(("anybody".to_owned(), Zeroizing::new("anything".to_owned()))),
        put_if_absent: true,
    };
    let objects =
        if std::env::var_os(IS_CLUSTER).is_some() { of_cluster(objects) } else { objects };
    Place { folder, metadata: Some(metadata), objects: Some(objects) }
}

/// The same in a cluster, which cannot put what is absent only.
fn of_cluster(bucket: Bucket) -> Bucket {
    let (id, secret) = garage::KEY;
    Bucket {
        region: Some(garage::REGION.to_owned()),
        access_key: Some((id.to_owned(), Zeroizing::new(secret.to_owned()))),
        put_if_absent: false,
        ..bucket
    }
}

/// Where the lake of a folder is, when servers are used.
pub(crate) fn place(folder: &Path) -> Option<Place> {
    Some(at(ports()?, &name(folder)?, folder.join("lake")))
}

/// The objects of the lake of a folder, when servers are used.
pub(crate) fn objects(folder: &Path) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
    let store = place(folder)?.objects.unwrap().store().unwrap();
    let found: Vec<_> = wait(store.list(None).try_collect()).unwrap();
    let read = |place: &Location| {
        wait(async { store.get(place).await.unwrap().bytes().await.unwrap() }).to_vec()
    };
    let objects = found.iter().map(|found| &found.location);
    Some(objects.map(|place| (PathBuf::from(place.as_ref()), read(place))).collect())
}

/// Copies what the lake of a folder has at servers for the lake of another folder.
pub(crate) fn copy(from: &Path, to: &Path) {
    let Some(found) = objects(from) else { return };
    let (database, _) = ports().unwrap();
    let (from, new) = (name(from).unwrap(), new_name(to));
    end_sessions(database, &from);
    sql(database, format!("CREATE DATABASE {new} TEMPLATE {from}"));
    let store = place(to).unwrap().objects.unwrap().store().unwrap();
    for (path, bytes) in found {
        let place = Location::from(path.to_str().unwrap());
        wait(store.put(&place, bytes.into())).unwrap();
    }
}

/// Writes over one object of the lake of a folder, or removes it.
pub(crate) fn damage(folder: &Path, object: &Path, bytes: Option<&[u8]>) {
    let store = place(folder).unwrap().objects.unwrap().store().unwrap();
    let place = Location::from(object.to_str().unwrap());
    match bytes {
        Some(bytes) => wait(store.put(&place, bytes.to_vec().into())).map(|_| ()).unwrap(),
        None => wait(store.delete(&place)).unwrap(),
    }
}

/// What the lake of a folder holds at servers.
pub(crate) fn stored(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let Some(mut stored) = objects(folder) else { return BTreeMap::new() };
    let databases = place(folder).unwrap().databases();
    for (half, tables) in [(Half::Index, index::SCHEMA.as_str()), (Half::Keys, keys::SCHEMA)] {
        let connection = databases.open(half, tables).unwrap();
        stored.insert(format!("{half:?}").into(), database::dump(&connection, tables));
    }
    stored
}

/// Waits until the server knows that who had the lake of a folder open is dead.
pub(crate) fn settle(folder: &Path) {
    let Some(name) = name(folder) else { return };
    end_sessions(ports().unwrap().0, &name);
}

fn end_sessions(port: u16, name: &str) {
    let others = format!("FROM pg_stat_activity WHERE datname = '{name}'");
    sql(
        port,
        format!(
            "SELECT pg_terminate_backend(pid) {others};
         DO $$ BEGIN WHILE EXISTS (SELECT {others}) LOOP
             PERFORM pg_sleep(0.01), pg_stat_clear_snapshot();
         END LOOP; END $$"
        ),
    );
}

const fn skip(tests: &str) -> [&str; 2] {
    ["--skip", tests]
}

#[test]
fn the_whole_suite_holds_on_postgresql_and_an_object_store() {
    if is_used() {
        return;
    }
    let (Some(database), Some(store)) = (servers::postgres(), servers::s3()) else { return };
    whole_suite(&mut suite(database.port, store.port));
}

#[test]
#[ignore = "needs the program `garage`, and takes a quarter of an hour to build it"]
fn the_whole_suite_holds_on_postgresql_and_a_cluster_that_loses_a_node() {
    if is_used() {
        return;
    }
    let Some(database) = servers::postgres() else { return };
    let mut cluster = Cluster::start();
    let port = cluster.port();
    // What it cannot do is noticed, unless somebody says so.
    let folder = tempfile::tempdir().unwrap();
    let trusted =
        of_cluster(at((database.port, port), "probed", folder.path().into()).objects.unwrap());
    let opened = Bucket { put_if_absent: true, ..trusted }.open();
    assert!(matches!(opened, Err(BucketError::NotAtomic { .. })), "{:?}", opened.err());
    let killer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(20));
        cluster.kill_one();
        cluster
    });
    whole_suite(suite(database.port, port).env(IS_CLUSTER, "1"));
    drop(killer.join());
}

/// All tests but those that need no lake, or bring servers of their own to read from.
fn suite(database: u16, store: u16) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["catalogue::", "check::", "source::mysql", "source::postgres"].map(skip).concat())
        .env(SERVERS, format!("{database} {store}"));
    command
}

fn whole_suite(command: &mut Command) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{text}");
}
