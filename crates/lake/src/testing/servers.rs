//! Real servers for the tests: each in its own folder, on a free port, ended with the test.
//!
//! Where the programs are not installed a test prints that it is skipped, but fails in CI.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A user without rights, for servers that do not run as root.
const NOBODY: u32 = 65534;

/// A server that is running.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    folder: tempfile::TempDir,
    client: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of this name, wherever Debian puts it. Fails in CI when there is none.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push(PathBuf::from("/usr/sbin"));
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let found = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        let package = if name.contains("maria") { "mariadb-server" } else { "postgresql" };
        let text = format!("`{name}` is not installed; install the package `{package}`");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        println!("skipped: {text}");
    }
    found
}

/// Runs as a user without rights when the test runs as root.
fn humble(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// A folder in memory, if there is room for a server's many small files: a disk may take minutes to
/// remove them.
fn folder() -> tempfile::TempDir {
    let folder = match memory() {
        Some(memory) => tempfile::tempdir_in(memory).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    #[cfg(unix)]
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    folder
}

#[cfg(target_os = "linux")]
fn memory() -> Option<&'static str> {
    let found = rustix::fs::statvfs("/dev/shm").ok()?;
    (found.f_bavail.saturating_mul(found.f_frsize) > 1 << 30).then_some("/dev/shm")
}

#[cfg(not(target_os = "linux"))]
const fn memory() -> Option<&'static str> {
    None
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn start(
    mut command: Command,
    (port, folder, client): (u16, tempfile::TempDir, PathBuf),
) -> Running {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let command = humble(&mut command).current_dir(folder.path());
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    wait_for(Running { child, port, folder, client })
}

/// Waits until the port is open.
fn wait_for(mut running: Running) -> Running {
    let port = running.port;
    let end = Instant::now() + Duration::from_mins(1);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let log = || std::fs::read_to_string(running.folder.path().join("log")).unwrap();
        assert!(Instant::now() < end, "the server does not start: {}", log());
        assert!(running.child.try_wait().unwrap().is_none(), "the server ended: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    running
}

pub(crate) fn postgres() -> Option<Running> {
    let (initdb, server, client) = (program("initdb")?, program("postgres")?, program("psql")?);
    let (folder, port) = (folder(), free_port());
    let data = folder.path().join("data");
    run(humble(Command::new(initdb).arg("-D").arg(&data).args([
        "--username=owner",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ])));
    let mut command = Command::new(server);
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
    command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
    // A server that is killed leaves its shared memory where only the folder's end removes it.
    command.args(["-c", "dynamic_shared_memory_type=mmap", "-k"]).arg(folder.path());
    let running = start(command, (port, folder, client));
    // The port opens before the server lets anybody in.
    let end = Instant::now() + Duration::from_mins(1);
    while !running.try_sql("SELECT 1") {
        assert!(Instant::now() < end, "the server lets nobody in");
        std::thread::sleep(Duration::from_millis(50));
    }
    Some(running)
}

pub(crate) fn mariadb() -> Option<Running> {
    let (install, server) = (program("mariadb-install-db")?, program("mariadbd")?);
    let client = program("mariadb")?;
    let (folder, port) = (folder(), free_port());
    let data = folder.path().join("data");
    let mut command = Command::new(install);
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    command.arg(format!("--tmpdir={}", folder.path().display()));
    command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    run(humble(&mut command).current_dir(folder.path()));
    let mut command = Command::new(server);
    command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
    command.arg(format!("--tmpdir={}", folder.path().display()));
    command.arg(format!("--port={port}")).arg("--bind-address=127.0.0.1");
    command.arg(format!("--socket={}", folder.path().join("socket").display()));
    command.arg(format!("--pid-file={}", folder.path().join("pid").display()));
    command.arg("--innodb-flush-log-at-trx-commit=0");
    let running = start(command, (port, folder, client));
    running.sql("CREATE DATABASE his CHARACTER SET utf8mb4");
    Some(running)
}

/// What the object store is installed from.
const MOTO: &str = "moto[server,s3]==5.2.5";

/// The name of the bucket that an object store has.
pub(crate) const BUCKET: &str = "lake";

/// A Python that has the object store; made once per target folder.
fn moto_python() -> Option<PathBuf> {
    let deps = std::env::current_exe().unwrap();
    let venv = deps.ancestors().nth(3).unwrap().join("tmp/moto");
    std::fs::create_dir_all(venv.parent().unwrap()).unwrap();
    let alone = std::fs::File::create(venv.with_extension("lock")).unwrap();
    alone.lock().unwrap();
    let python = venv.join("bin/python");
    let runs = |command: &mut Command| command.output().is_ok_and(|out| out.status.success());
    let has_package = || runs(Command::new(&python).args(["-c", "import moto.server"]));
    let made = has_package()
        || (runs(Command::new("python3").args(["-m", "venv"]).arg(&venv))
            && runs(Command::new(&python).args(["-m", "pip", "install", "--quiet", MOTO]))
            && has_package());
    if !made {
        let text = format!("`python3 -m venv` and `pip install {MOTO}` do not work here");
        assert!(std::env::var_os("CI").is_none(), "{text}");
        println!("skipped: {text}");
    }
    made.then_some(python)
}

/// An S3-compatible object store with one bucket.
pub(crate) fn s3() -> Option<Running> {
    let (python, port) = (moto_python()?, free_port());
    let folder = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let mut command = Command::new(&python);
    command.args(["-c", include_str!("s3.py"), &port.to_string()]);
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let running = wait_for(Running { child, port, folder, client: python });
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = "Host: 127.0.0.1\r\nContent-Length: 0\r\nConnection: close";
    stream.write_all(format!("PUT /{BUCKET} HTTP/1.1\r\n{head}\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Some(running)
}

impl Running {
    fn command(&self, sql: &str) -> Command {
        let mut command = Command::new(&self.client);
        let port = self.port.to_string();
        if self.client.ends_with("psql") {
            let address = ["-h", "127.0.0.1", "-p", &port, "-U", "owner", "-d", "postgres"];
            command.args(address).args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        } else {
            let address = ["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", "root"];
            command.args(address).args(["--default-character-set=utf8mb4", "-e", sql]);
        }
        command
    }

    /// Runs SQL as the server's owner.
    pub(crate) fn sql(&self, sql: &str) {
        run(&mut self.command(sql));
    }

    fn try_sql(&self, sql: &str) -> bool {
        self.command(sql).output().is_ok_and(|output| output.status.success())
    }
}
