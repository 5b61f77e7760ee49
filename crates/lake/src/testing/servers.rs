//! Real servers for the tests: each in its own folder, on a free port, ended with the test.
//!
//! Where the programs are not installed a test prints that it is skipped, but fails in CI.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A user without rights, for servers that do not run as root.
const NOBODY: u32 = 65534;

/// How many ports a server is started on before it is given up.
const STARTS: usize = 5;

/// A server that is running.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
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

/// Starts a server on a port that is free, and on another one when somebody takes that first. The
/// words are those by which it tells that the port is its own.
fn start(
    (folder, client, words): (tempfile::TempDir, PathBuf, &str),
    server: impl Fn(&Path, u16) -> Command,
) -> Running {
    let log = folder.path().join("log");
    for _ in 0..STARTS {
        let port = free_port();
        let mut command = server(folder.path(), port);
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        if opens(&mut child, port, (&log, words)) {
            return Running { child, port, _folder: folder, client };
        }
    }
    panic!("somebody else takes every port before the server does");
}

/// Waits until the server's port is open; whether it did not end because the port is somebody else's.
fn opens(child: &mut Child, port: u16, (log, words): (&Path, &str)) -> bool {
    let log = || std::fs::read_to_string(log).unwrap();
    let end = Instant::now() + Duration::from_mins(1);
    while !(log().contains(words) && TcpStream::connect(("127.0.0.1", port)).is_ok()) {
        if child.try_wait().unwrap().is_some() {
            assert!(log().contains("in use"), "the server ended: {}", log());
            return false;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the server does not start: {}", log());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    true
}

pub(crate) fn postgres() -> Option<Running> {
    let (initdb, server, client) = (program("initdb")?, program("postgres")?, program("psql")?);
    let folder = folder();
    run(humble(Command::new(initdb).arg("-D").arg(folder.path().join("data")).args([
        "--username=owner",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--no-sync",
    ])));
    let running = start((folder, client, "listening on"), |folder, port| {
        let mut command = Command::new(&server);
        command.arg("-D").arg(folder.join("data")).arg("-p").arg(port.to_string());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]);
        // A server that is killed leaves its shared memory where only the folder's end removes it.
        command.args(["-c", "dynamic_shared_memory_type=mmap", "-k"]).arg(folder);
        humble(command.current_dir(folder));
        command
    });
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
    let folder = folder();
    let at = |program: &Path, folder: &Path| {
        let mut command = Command::new(program);
        command.arg("--no-defaults").arg(format!("--datadir={}", folder.join("data").display()));
        command.arg(format!("--tmpdir={}", folder.display()));
        humble(command.current_dir(folder));
        command
    };
    run(at(&install, folder.path())
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"]));
    let running = start((folder, client, "ready for connections"), |folder, port| {
        let mut command = at(&server, folder);
        command.arg(format!("--port={port}")).arg("--bind-address=127.0.0.1");
        command.arg(format!("--socket={}", folder.join("socket").display()));
        command.arg(format!("--pid-file={}", folder.join("pid").display()));
        command.arg("--innodb-flush-log-at-trx-commit=0");
        command
    });
    running.sql("CREATE DATABASE his CHARACTER SET utf8mb4");
    Some(running)
}

/// Installs, and bears with a registry that fails now and then.
const PIP: [&str; 6] = ["-m", "pip", "install", "--quiet", "--retries", "10"];

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
            && runs(Command::new(&python).args(PIP).arg(MOTO))
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
    let python = moto_python()?;
    let place = (tempfile::tempdir().unwrap(), python.clone(), "Running on");
    let running = start(place, |_, port| {
        let mut command = Command::new(&python);
        command.args(["-c", include_str!("s3.py"), &port.to_string()]);
        command
    });
    let mut stream = TcpStream::connect(("127.0.0.1", running.port)).unwrap();
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
