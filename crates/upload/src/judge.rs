//! Looks at whole files: checksum, then the source's catalogue; sound ones move into the source.

use crate::area::Area;
use crate::area_file;
use crate::held::{DATA, Held, Outcome, Progress, State};
use aegle_lake::{Catalogue, CheckReport, Finding, catalogue, check_file};
use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

const BUFFER: usize = 1 << 16;

/// How many reasons are told; more are counted.
const REASONS_MAX: usize = 50;

/// The reason that no release overrides.
const ELSEWHERE: &str =
    "the source folder has something else than a file under this name, or than a folder above it";

/// Where a file lies while it is checked.
const STAGE: &str = "stage";

/// Why a file stays in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct Unsound(pub Vec<String>);

impl Unsound {
    fn because(reason: &str) -> Self {
        Self(vec![reason.to_owned()])
    }
}

/// Looks at every upload that is whole, in the order in which they became so.
pub(crate) fn judge_all(area: &Area, now: impl Fn() -> Timestamp) -> io::Result<()> {
    let mut waiting = Vec::new();
    for held in area.list()? {
        if held.state()? == State::Open(Progress::Validating) {
            waiting.push((held.touched()?, held));
        }
    }
    waiting.sort_by_key(|(touched, _)| *touched);
    for (_, held) in waiting {
        if let Err(error) = judge(area, &held, now()) {
            let id = &held.about.id;
            tracing::error!(upload = %id, %error, "An upload could not be looked at; it waits");
        }
    }
    Ok(())
}

fn judge(area: &Area, held: &Held, now: Timestamp) -> io::Result<()> {
    let Some(_claim) = held.claim()? else { return Ok(()) };
    if held.state()? != State::Open(Progress::Validating) {
        return Ok(());
    }
    let (id, credential) = (&held.about.id, &held.about.credential);
    let outcome = settle(area, held, now)?;
    match outcome {
        Outcome::Accepted { rows, .. } => {
            tracing::info!(upload = %id, %credential, rows, "An upload was accepted");
        }
        Outcome::Quarantined { reasons, .. } => {
            let reasons = reasons.len();
            tracing::warn!(upload = %id, %credential, reasons, "An upload stays in quarantine");
        }
    }
    Ok(())
}

fn settle(area: &Area, held: &Held, now: Timestamp) -> io::Result<Outcome> {
    let outcome = if held.path(DATA).exists() {
        match look(held) {
            Ok(report) => return accept(area, held, Some(&report), now),
            Err(Failed::Unsound(Unsound(reasons))) => Outcome::Quarantined { at: now, reasons },
            Err(Failed::Io(error)) => return Err(error),
        }
    } else {
        // A crash came between the move and its note.
        Outcome::Accepted { at: now, rows: None, rows_without_patient: None }
    };
    held.settle(&outcome)?;
    Ok(outcome)
}

/// Moves an upload out of quarantine into its source folder: when it is sound by now, or, with
/// `as_it_is`, whatever it holds. None while somebody else is at it.
pub fn release(
    area: &Area,
    held: &Held,
    as_it_is: bool,
    now: Timestamp,
) -> io::Result<Option<Result<Outcome, Unsound>>> {
    let Some(_claim) = held.claim()? else { return Ok(None) };
    if held.offset()? < held.about.length || !held.path(DATA).exists() {
        return Ok(Some(Err(Unsound::because("the upload is not whole, or was accepted already"))));
    }
    let report = match look(held) {
        Ok(report) => Some(report),
        Err(Failed::Unsound(unsound)) if as_it_is && unsound.0 != [ELSEWHERE] => None,
        Err(Failed::Unsound(unsound)) => return Ok(Some(Err(unsound))),
        Err(Failed::Io(error)) => return Err(error),
    };
    accept(area, held, report.as_ref(), now).map(|outcome| Some(Ok(outcome)))
}

/// A file that is not accepted, or not yet.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Unsound(#[from] Unsound),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Checks a whole file, whatever its bytes do to a reader.
fn look(held: &Held) -> Result<CheckReport, Failed> {
    guarded(|| check(held))
}

/// What a check of foreign bytes says; a panic is a fault of the file's, not of who asked.
fn guarded<T>(check: impl FnOnce() -> Result<T, Failed>) -> Result<T, Failed> {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|_| {
        Err(Unsound::because("the file could not be read by this version").into())
    })
}

fn check(held: &Held) -> Result<CheckReport, Failed> {
    let about = &held.about;
    check_place(&about.source, about.name.as_str())?;
    if let Some(wanted) = &about.sha256
        && *wanted != hex::encode(sha256(&held.path(DATA))?)
    {
        return Err(Unsound::because("the file's SHA-256 is not the one that was given").into());
    }
    let catalogue = read_catalogue(&about.source)?;
    let stage = Stage::new(held, &catalogue)?;
    let report = check_file(&catalogue, &stage.0, about.name.as_str());
    if report.tables.is_empty() {
        return Err(Unsound::because("no table of the catalogue reads a file of this name").into());
    }
    if !report.is_loadable() {
        return Err(Unsound(reasons(&report)).into());
    }
    // A table of its own may be empty; of an export without a row, nothing was meant.
    let is_table = catalogue.tables().iter().any(|table| table.file == about.name.as_str());
    if report.rows() == 0 && !is_table {
        return Err(Unsound::because("no table of the catalogue finds a row in the file").into());
    }
    Ok(report)
}

fn read_catalogue(source: &Path) -> Result<Catalogue, Failed> {
    let bad =
        || Unsound::because("the source folder has no sound catalogue; ask the centre's operator");
    let file = area_file::exists(File::open(source.join(catalogue::FILE)))?.ok_or_else(bad)?;
    let mut text = String::new();
    file.take(catalogue::BYTES_MAX).read_to_string(&mut text).map_err(|_| bad())?;
    Ok(Catalogue::parse(&text).map_err(|_| bad())?)
}

/// What is wrong, without the file's name, which may tell of a patient.
fn reasons(report: &CheckReport) -> Vec<String> {
    let reason = |finding: &Finding| {
        let place = finding.lines.to_string();
        let place = place.trim_start_matches(", ");
        let colon = if place.is_empty() { "" } else { ": " };
        format!("{place}{colon}{}", finding.hole)
    };
    let mut reasons: Vec<_> = report.findings.iter().take(REASONS_MAX).map(reason).collect();
    if let Some(more) = report.findings.len().checked_sub(REASONS_MAX).filter(|more| *more > 0) {
        reasons.push(format!("and {more} more"));
    }
    reasons
}

fn sha256(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut context, mut buffer) =
        (File::open(path)?, Context::new(&SHA256), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => context.update(&buffer[..read]),
        }
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    Ok(hash)
}

/// A folder that holds the file under its own name, and links to the CSV files beside it.
struct Stage(PathBuf);

impl Stage {
    fn new(held: &Held, catalogue: &Catalogue) -> io::Result<Self> {
        let stage = Self(held.path(STAGE));
        area_file::exists(std::fs::remove_dir_all(&stage.0))?;
        let name = held.about.name.as_str();
        let file = stage.0.join(name);
        area_file::folder(file.parent().unwrap_or(&stage.0))?;
        std::fs::hard_link(held.path(DATA), &file)?;
        for table in catalogue.tables().iter().filter(|table| table.file != name) {
            let link = stage.0.join(&table.file);
            if !link.exists() {
                // Most of them are not needed, and one that cannot be made is like one not there.
                drop(std::os::unix::fs::symlink(held.about.source.join(&table.file), link));
            }
        }
        Ok(stage)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn accept(
    area: &Area,
    held: &Held,
    report: Option<&CheckReport>,
    now: Timestamp,
) -> io::Result<Outcome> {
    deliver(held)?;
    area.credentials.books(&held.about.credential)?.add(held.about.length)?;
    let outcome = Outcome::Accepted {
        at: now,
        rows: report.map(CheckReport::rows),
        rows_without_patient: report.map(CheckReport::rows_without_patient),
    };
    held.settle(&outcome)?;
    Ok(outcome)
}

/// Puts the file where its name says, in place of an older one, at once and for good.
fn deliver(held: &Held) -> io::Result<()> {
    let target = held.about.source.join(held.about.name.as_str());
    let folder = target.parent().unwrap_or(&held.about.source);
    area_file::folder(folder)?;
    let data = held.path(DATA);
    match std::fs::rename(&data, &target) {
        Ok(()) => {}
        // Another disk. No source reads a hidden file that ends in `.part`.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            let near = folder.join(format!(".{}.part", held.about.id));
            std::fs::copy(&data, &near)?;
            File::open(&near)?.sync_all()?;
            std::fs::rename(&near, &target)?;
            area_file::sync(folder)?;
            std::fs::remove_file(&data)?;
        }
        Err(error) => return Err(error),
    }
    area_file::sync(folder)?;
    area_file::sync(&held.folder)
}

/// Makes sure that the name's folders are folders and that it is no other thing's name; a link among
/// them could lead anywhere.
fn check_place(source: &Path, name: &str) -> Result<(), Failed> {
    let (mut path, mut parts) = (source.to_owned(), name.split('/').peekable());
    while let Some(part) = parts.next() {
        path.push(part);
        let Some(found) = area_file::exists(std::fs::symlink_metadata(&path))? else { break };
        let fits = if parts.peek().is_some() { found.is_dir() } else { found.is_file() };
        if !fits {
            return Err(Unsound::because(ELSEWHERE).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_while_a_file_is_read_is_a_reason_like_any_other() {
        let unsound = guarded::<()>(|| panic!("a reader met bytes that it does not know"));
        assert_eq!(unsound.unwrap_err().to_string(), "the file could not be read by this version");
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}
