//! Who asked what: one line of JSON per question, each with the hash of the line before.
//!
//! A line that is altered, left out or put in shows, because the next one does not follow. That all
//! lines were cut off from some line on, or that all were written anew by who may write the file, does
//! not: an operator keeps the last line's hash elsewhere, or the file where analysts cannot write.

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The longest line, in bytes.
const LINE_MAX: u64 = 1 << 20;
/// How much of a refusal is kept, in bytes.
const WORDS_MAX: usize = 4 << 10;

/// What came of a question, or of a refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was asked; another line says what came of it. If none does, it was stopped.
    Asked,
    /// Rows were shown, and groups held back.
    Answered {
        /// How many rows.
        rows: u64,
        /// How many groups were too small.
        suppressed: u64,
    },
    /// The question may not be asked so.
    Refused(String),
    /// The answer could not be found.
    Failed(String),
    /// The tables were written anew.
    Refreshed {
        /// How many rows there are in all.
        rows: u64,
    },
}

impl Outcome {
    /// The same in few words: a refusal may quote much of a question.
    fn shortened(mut self) -> Self {
        if let Self::Refused(words) | Self::Failed(words) = &mut self
            && words.len() > WORDS_MAX
        {
            words.truncate(words.floor_char_boundary(WORDS_MAX));
            words.push('…');
        }
        self
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Counts from 1.
    pub number: u64,
    /// SHA-256 of the line before, in hex; 64 zeros in the first one.
    pub previous: String,
    /// When, by this machine's clock.
    pub at: String,
    /// The user of the operating system: its number, and its name if it has one.
    pub user: String,
    /// The project.
    pub project: String,
    /// The fewest patients of a group.
    pub k: u32,
    /// The question; empty for a refresh, and where [`of`](Self::of) says which one it was.
    pub sql: String,
    /// The number of the line with the question that this is the outcome of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What happened, before it is on a line.
#[derive(Debug)]
pub struct Event<'a> {
    /// The project.
    pub project: &'a str,
    /// The fewest patients of a group.
    pub k: u32,
    /// The question; empty for a refresh, and where `of` says which one it was.
    pub sql: &'a str,
    /// The number of the line with the question.
    pub of: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// Adds a line and tells its number. It is on disk when this returns, whole or not at all; a journal that
/// does not hold together takes none.
pub fn append(path: &Path, event: Event<'_>) -> Result<u64> {
    let add = || -> Result<u64> {
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        file.lock()?;
        let (number, previous) = check(&mut file)?;
        let entry = Entry {
            number: number + 1,
            previous,
            at: Timestamp::now().to_string(),
            user: user(),
            project: event.project.to_owned(),
            k: event.k,
            sql: event.sql.to_owned(),
            of: event.of,
            outcome: event.outcome.shortened(),
        };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        let end = file.metadata()?.len();
        if let Err(error) = file.write_all(&line).and_then(|()| file.sync_all()) {
            file.set_len(end)?;
            return Err(error.into());
        }
        if number == 0 {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        Ok(number + 1)
    };
    add().with_context(|| {
        format!("could not keep in the journal `{}` what was asked", path.display())
    })
}

/// Every line, oldest first, if they hold together.
pub fn read(path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut file =
        File::open(path).with_context(|| format!("could not read `{}`", path.display()))?;
    walk(&mut file, &mut |entry| entries.push(entry))?;
    Ok(entries)
}

/// How many lines there are, and the hash of the last one.
fn check(file: &mut File) -> Result<(u64, String)> {
    walk(file, &mut |_| {})
}

fn walk(file: &mut File, each: &mut dyn FnMut(Entry)) -> Result<(u64, String)> {
    file.rewind()?;
    let mut reader = BufReader::new(file);
    let (mut number, mut previous) = (0, hex::encode([0; 32]));
    loop {
        let mut line = Vec::new();
        if reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line)? == 0 {
            return Ok((number, previous));
        }
        number += 1;
        let Some(text) = line.strip_suffix(b"\n") else {
            bail!("line {number} is cut short; move the file away and tell who answers for it");
        };
        let entry: Option<Entry> = serde_json::from_slice(text).ok();
        let follows = |entry: &Entry| entry.number == number && entry.previous == previous;
        let Some(entry) = entry.filter(follows) else {
            bail!(
                "line {number} does not follow the one before, so somebody altered the file; move it \
                 away and tell who answers for it"
            );
        };
        previous = hex::encode(Sha256::digest(&line));
        each(entry);
    }
}

/// The number of who runs this, which cannot be made up, and the name that goes with it here.
fn user() -> String {
    let number = rustix::process::getuid().as_raw();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then_some(name)
    });
    match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sql: &str) -> Event<'_> {
        let outcome = Outcome::Answered { rows: 3, suppressed: 1 };
        Event { project: "study", k: 10, sql, of: None, outcome }
    }

    fn journal() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        for sql in ["SELECT 1", "SELECT '\n'", "SELECT 3"] {
            append(&path, event(sql)).unwrap();
        }
        (folder, path)
    }

    #[test]
    fn what_was_asked_is_read_in_order() {
        let (_folder, path) = journal();
        let entries = read(&path).unwrap();
        let asked: Vec<_> = entries.iter().map(|entry| (entry.number, &*entry.sql)).collect();
        assert_eq!(asked, [(1, "SELECT 1"), (2, "SELECT '\n'"), (3, "SELECT 3")]);
        let user = rustix::process::getuid().as_raw().to_string();
        assert!(entries.iter().all(|entry| entry.user.starts_with(&user) && entry.k == 10));
    }

    #[test]
    fn many_words_are_shortened() {
        let (_folder, path) = journal();
        let outcome = Outcome::Refused("é".repeat(1 << 20));
        append(&path, Event { outcome, ..event("") }).unwrap();
        append(&path, event("SELECT 5")).unwrap();
        let entries = read(&path).unwrap();
        let Outcome::Refused(words) = &entries[3].outcome else { panic!() };
        assert!(words.len() <= WORDS_MAX + 3 && words.ends_with('…'));
    }

    #[test]
    fn a_journal_that_was_altered_takes_nothing_more() {
        let (_folder, path) = journal();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let altered = [
            text.replace("SELECT 1", "SELECT 9"),
            text.replace("\"rows\":3", "\"rows\":2"),
            lines[1..].concat(),
            [lines[0], lines[2]].concat(),
            [lines[1], lines[0], lines[2]].concat(),
            [lines[0], lines[0], lines[1], lines[2]].concat(),
            text[..text.len() - 1].to_owned(),
            text.clone() + "\n",
            text.clone() + "{}\n",
        ];
        for altered in altered {
            std::fs::write(&path, &altered).unwrap();
            assert!(append(&path, event("SELECT 4")).is_err(), "{altered}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), altered);
        }
        std::fs::write(&path, &text).unwrap();
        append(&path, event("SELECT 4")).unwrap();
        assert_eq!(read(&path).unwrap().len(), 4);
    }
}
