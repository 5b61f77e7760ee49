//! `PostgreSQL` on this machine, durable as by default: started for one measurement, ended with it.

use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A user without rights, for a server that does not run as root.
const NOBODY: u32 = 65_534;

/// As much memory as the lake gives its index, and room to sort; the rest is as installed.
const SETTINGS: [&str; 3] =
    ["shared_buffers=256MB", "maintenance_work_mem=256MB", "max_wal_size=4GB"];

const TABLES: &str = "
    CREATE TABLE person (patnr text NOT NULL, name text, sex text, birth date,
        tag text NOT NULL DEFAULT 'identity');
    CREATE TABLE medication (patnr text NOT NULL, product text, reason text, dose numeric, start date,
        tag text NOT NULL DEFAULT 'medication');
    CREATE TABLE measurement (patnr text NOT NULL, code text, method text, result numeric, at date,
        tag text NOT NULL DEFAULT 'diagnosis');";

const COLUMNS: [(&str, &str); 3] = [
    ("person", "patnr, name, sex, birth"),
    ("medication", "patnr, product, reason, dose, start"),
    ("measurement", "patnr, code, method, result, at"),
];

/// The rows of one patient that two of three tags open; `:patient` is drawn anew each time.
const LOOK_UP: &str = "
    SELECT product, reason, dose, start FROM medication
    WHERE patnr = 'P' || lpad(:patient::text, 8, '0') AND tag IN ('medication', 'diagnosis')
    UNION ALL
    SELECT code, method, result, at FROM measurement
    WHERE patnr = 'P' || lpad(:patient::text, 8, '0') AND tag IN ('medication', 'diagnosis');";

pub(super) struct Server {
    child: Child,
    folder: tempfile::TempDir,
    programs: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts a server in a new folder in `place`, which everybody can enter; none when it is not
    /// installed.
    pub(super) fn start(place: &Path) -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let folder = tempfile::tempdir_in(place)?;
        if is_root()? {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        let data = folder.path().join("data");
        let mut made = Command::new(programs.join("initdb"));
        made.arg("-D").arg(&data).args(["--username=owner", "--auth=trust", "--encoding=UTF8"]);
        run(humble(made.arg("--locale=C.UTF-8"))?)?;
        let mut command = Command::new(programs.join("postgres"));
        // Nobody listens but at the socket in the folder.
        command.arg("-D").arg(&data).args(["-c", "listen_addresses="]).arg("-k").arg(folder.path());
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        let log = File::create(folder.path().join("log"))?;
        let command = humble(&mut command)?.current_dir(folder.path());
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        let mut server = Self { child, folder, programs };
        let end = Instant::now() + Duration::from_mins(1);
        while server.sql(&["SELECT 1"]).is_err() {
            if server.child.try_wait()?.is_some() || Instant::now() > end {
                bail!("PostgreSQL does not start: {}", fs::read_to_string(server.log())?);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(server))
    }

    /// Copies the tables of a source and indexes them by patient and tag; how many seconds it took.
    pub(super) fn load(&self, source: &Path) -> Result<f64> {
        self.sql(&[TABLES])?;
        let mut steps = Vec::new();
        for (table, columns) in COLUMNS {
            let file = source.join(format!("{table}.csv"));
            let file = file.to_str().context("the folder's name is not UTF-8")?;
            steps.push(format!("\\copy {table} ({columns}) FROM '{file}' CSV HEADER"));
            steps.push(format!("CREATE INDEX ON {table} (patnr, tag)"));
        }
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        let started = Instant::now();
        self.sql(&steps)?;
        let seconds = started.elapsed().as_secs_f64();
        self.sql(&["VACUUM ANALYZE"])?;
        Ok(seconds)
    }

    /// How many microseconds each of so many look-ups by a prepared statement took, of one of `asked`
    /// patients, `step` numbers apart. None when the program that measures it is not there.
    pub(super) fn look_ups(&self, number: u32, asked: u32, step: u32) -> Result<Option<Vec<f64>>> {
        let program = self.programs.join("pgbench");
        if !program.is_file() {
            return Ok(None);
        }
        // Those with a long history are left out, as in the lake.
        let draw = format!(
            "\\set drawn random(0, {}) * {step}\n\
             \\set patient :drawn + case when :drawn % 1000 = 0 then 1 else 0 end\n",
            asked - 1
        );
        let script = self.folder.path().join("look_up.sql");
        fs::write(&script, draw + &LOOK_UP.replace('\n', " "))?;
        let prefix = self.folder.path().join("times");
        // As often before, so that it is as warm as the lake.
        for log in [false, true] {
            let mut command = Command::new(&program);
            self.reach(&mut command).args(["-n", "-M", "prepared", "-f"]).arg(&script);
            command.arg("-t").arg(number.to_string());
            if log {
                command.arg("-l").arg(format!("--log-prefix={}", prefix.display()));
            }
            run(command.arg("postgres"))?;
        }
        let mut times = Vec::new();
        for entry in fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            if path.to_string_lossy().starts_with(&*prefix.to_string_lossy()) {
                times.extend(fs::read_to_string(path)?.lines().filter_map(microseconds));
            }
        }
        ensure!(times.len() == usize::try_from(number)?, "pgbench noted {} times", times.len());
        Ok(Some(times))
    }

    fn sql(&self, statements: &[&str]) -> Result<()> {
        let mut command = Command::new(self.programs.join("psql"));
        self.reach(&mut command).args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]);
        command.args(statements.iter().flat_map(|statement| ["-c", statement]));
        run(command.arg("postgres"))
    }

    fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.arg("-h").arg(self.folder.path()).args(["-U", "owner"])
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }
}

/// What a line of pgbench's log says: client, transaction, microseconds, script, and when.
fn microseconds(line: &str) -> Option<f64> {
    line.split_whitespace().nth(2)?.parse().ok()
}

/// The folder of the server's programs, wherever Debian puts them.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let whole = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file())
    };
    folders.into_iter().find(whole)
}

fn is_root() -> Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

fn humble(command: &mut Command) -> Result<&mut Command> {
    Ok(if is_root()? { command.uid(NOBODY).gid(NOBODY) } else { command })
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {errors}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_has_its_time_in_the_third_place() {
        assert_eq!(microseconds("0 199 2241 0 1175850568 995598"), Some(2241.0));
        assert_eq!(microseconds(""), None);
    }
}
