//! Whether a node may vote: never with a key that has voted and a folder that does not know how.
//!
//! The engine's journal holds what a node voted for. A node that lost it could vote otherwise for
//! the same view, which is a lie to the others, whatever the reason. So a mark beside the key says
//! that the key has voted; when the mark is there and the journal is not, the node only follows.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// What a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Vote and propose.
    Votes,
    /// Follow the chain: its key has voted, and the journal of its votes is not there.
    Follows,
}

/// Looks whether the key that `mark` stands beside has voted in `network` without this `journal`
/// (a folder), and notes what it may do from now on: a loss stays one, although a follower keeps a
/// journal, too.
pub(crate) fn standing(mark: &Path, journal: &Path, network: &str) -> io::Result<Standing> {
    let marked = match fs::read_to_string(mark) {
        Ok(marked) => marked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let (voted, lost) = (format!("voted {network}"), format!("lost {network}"));
    let says = |line: &str| marked.lines().any(|marked| marked == line);
    if says(&lost) {
        return Ok(Standing::Follows);
    }
    if !says(&voted) {
        // The journal's place first: a node that dies in between has not voted and may start again.
        fs::create_dir_all(journal)?;
        note(mark, &voted)?;
    } else if !journal.is_dir() {
        note(mark, &lost)?;
        return Ok(Standing::Follows);
    }
    Ok(Standing::Votes)
}

/// Notes what the key may do with a folder that was made from a backup, whatever it did before: with
/// `votes` it may vote again, and needs a place for its journal; else it only follows.
pub(crate) fn restored(mark: &Path, network: &str, votes: bool) -> io::Result<()> {
    let marked = match fs::read_to_string(mark) {
        Ok(marked) => marked,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let (voted, lost) = (format!("voted {network}"), format!("lost {network}"));
    let mut lines: Vec<_> = marked.lines().filter(|line| *line != voted && *line != lost).collect();
    lines.push(&voted);
    if !votes {
        lines.push(&lost);
    }
    let beside = mark.with_extension("new");
    // What an earlier try may have left.
    let _ = fs::remove_file(&beside);
    lines.iter().try_for_each(|line| note(&beside, line))?;
    fs::rename(&beside, mark)?;
    sync_folder(mark)
}

/// Adds a line. It is on disk when this returns.
fn note(mark: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().append(true).create(true).open(mark)?;
    writeln!(file, "{line}")?;
    file.sync_all()?;
    sync_folder(mark)
}

fn sync_folder(mark: &Path) -> io::Result<()> {
    match mark.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_voted_needs_its_journal() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, journal) = (folder.path().join("voted"), folder.path().join("a/b/votes"));
        let standing = || standing(&mark, &journal, "net").unwrap();
        assert_eq!(standing(), Standing::Votes, "the first start");
        assert_eq!(standing(), Standing::Votes, "a start after a crash before the first vote");
        fs::remove_dir_all(folder.path().join("a")).unwrap();
        assert_eq!(standing(), Standing::Follows);
        fs::create_dir_all(&journal).unwrap();
        assert_eq!(standing(), Standing::Follows, "what a follower keeps is no journal of votes");
    }

    #[test]
    fn what_was_restored_follows_unless_all_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, journal) = (folder.path().join("voted"), folder.path().join("votes"));
        let standing = |network| standing(&mark, &journal, network).unwrap();
        restored(&mark, "net", false).unwrap();
        assert_eq!(standing("net"), Standing::Follows, "whether the mark was there or not");
        fs::create_dir_all(&journal).unwrap();
        assert_eq!(standing("net"), Standing::Follows);
        assert_eq!(standing("other"), Standing::Votes);
        restored(&mark, "net", true).unwrap();
        assert_eq!(standing("net"), Standing::Votes);
        fs::remove_dir_all(&journal).unwrap();
        assert_eq!(standing("net"), Standing::Follows, "only with the place that was made for it");
        assert_eq!(standing("other"), Standing::Follows);
    }

    #[test]
    fn another_network_is_another_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("voted");
        for network in ["one", "two"] {
            let journal = folder.path().join(network);
            assert_eq!(standing(&mark, &journal, network).unwrap(), Standing::Votes);
            fs::remove_dir_all(&journal).unwrap();
        }
        for network in ["one", "two"] {
            let journal = folder.path().join(network);
            assert_eq!(standing(&mark, &journal, network).unwrap(), Standing::Follows);
        }
    }
}
