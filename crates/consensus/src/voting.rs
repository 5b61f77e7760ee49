//! Whether a node may vote in an epoch: never with a key that has voted in it and a folder that does
//! not know how.
//!
//! The engine's journal holds what a node voted for in an epoch. A node that lost it could vote
//! otherwise for the same view, which is a lie to the others, whatever the reason. So a mark beside
//! the key says up to which epoch the key has voted; when the mark is there and the journal is not,
//! the node only follows until the next epoch.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// What a node may do in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Vote and propose.
    Votes,
    /// Follow: its key has voted in a later epoch, so the network is past this one.
    Behind,
    /// Follow: its key has voted, and the journal of its votes is not there.
    Lost,
}

/// Looks whether the key that `mark` stands beside has voted in this epoch of `network` without
/// this `journal` (a folder), and notes what it may do from now on: a loss stays one until the epoch
/// ends.
pub(crate) fn standing(
    mark: &Path,
    journal: &Path,
    network: &str,
    epoch: u64,
) -> io::Result<Standing> {
    let marked = read(mark)?;
    let (voted, lost) = (last(&marked, "voted", network), last(&marked, "lost", network));
    if voted.is_some_and(|voted| epoch < voted) {
        return Ok(Standing::Behind);
    }
    if lost.is_some_and(|lost| epoch <= lost) {
        return Ok(Standing::Lost);
    }
    if voted == Some(epoch) {
        if journal.is_dir() {
            return Ok(Standing::Votes);
        }
        write(mark, &marked, network, (epoch, Some(epoch)))?;
        return Ok(Standing::Lost);
    }
    // The journal's place first: a node that dies in between has not voted and may start again.
    fs::create_dir_all(journal)?;
    write(mark, &marked, network, (epoch, lost))?;
    Ok(Standing::Votes)
}

/// Whether the key that `mark` stands beside has ever voted in `network`.
pub(crate) fn has_voted(mark: &Path, network: &str) -> io::Result<bool> {
    Ok(last(&read(mark)?, "voted", network).is_some())
}

/// Notes what the key may do with a folder that was made from a backup, in which `epoch` is next.
/// With `votes` it may vote on from there, whatever it did before, and needs a place for its journal.
/// Else it follows until the last epoch it voted in has ended, and for ever when nothing is known of
/// that.
pub(crate) fn restored(mark: &Path, network: &str, epoch: u64, votes: bool) -> io::Result<()> {
    let marked = read(mark)?;
    if votes {
        return write(mark, &marked, network, (epoch, None));
    }
    let last = last(&marked, "voted", network).map_or(u64::MAX, |voted| voted.max(epoch));
    write(mark, &marked, network, (epoch, Some(last)))
}

fn read(mark: &Path) -> io::Result<String> {
    match fs::read_to_string(mark) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// The last epoch of `network` for which the mark says `word`.
fn last(marked: &str, word: &str, network: &str) -> Option<u64> {
    let epochs = marked.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let says = words.next() == Some(word) && words.next() == Some(network);
        // Networks had one epoch once, and lines no number.
        says.then(|| words.next().map_or(Some(0), |epoch| epoch.parse().ok()))?
    });
    epochs.max()
}

/// Says of `network` up to which epochs the key has voted and lost its journal, and leaves other
/// networks alone. The mark is whole and on disk when this returns, whatever happens in between.
fn write(
    mark: &Path,
    marked: &str,
    network: &str,
    (voted, lost): (u64, Option<u64>),
) -> io::Result<()> {
    let other = |line: &&str| line.split_whitespace().nth(1) != Some(network);
    let mut lines: Vec<_> = marked.lines().filter(other).map(str::to_owned).collect();
    lines.push(format!("voted {network} {voted}"));
    lines.extend(lost.map(|lost| format!("lost {network} {lost}")));
    let beside = mark.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all((lines.join("\n") + "\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, mark)?;
    sync_folder(mark)
}

/// Brings the names in the folder that `mark` is in to the disk.
pub(crate) fn sync_folder(mark: &Path) -> io::Result<()> {
    match mark.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_voted_needs_its_journal_until_the_epoch_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, journals) = (folder.path().join("voted"), folder.path().join("a"));
        let standing = |epoch| {
            let journal = journals.join(format!("votes-{epoch}"));
            standing(&mark, &journal, "net", epoch).unwrap()
        };
        assert!(!has_voted(&mark, "net").unwrap());
        assert_eq!(standing(0), Standing::Votes, "the first start");
        assert!(has_voted(&mark, "net").unwrap() && !has_voted(&mark, "other").unwrap());
        assert_eq!(standing(0), Standing::Votes, "a start after a crash before the first vote");
        assert_eq!(standing(3), Standing::Votes);
        fs::remove_dir_all(&journals).unwrap();
        assert_eq!(standing(0), Standing::Behind, "it has voted in a later epoch");
        assert_eq!(standing(3), Standing::Lost);
        fs::create_dir_all(journals.join("votes-3")).unwrap();
        assert_eq!(standing(3), Standing::Lost, "what a follower keeps is no journal of votes");
        assert_eq!(standing(4), Standing::Votes, "nobody has voted there yet");
        assert_eq!(fs::read_to_string(&mark).unwrap(), "voted net 4\nlost net 3\n");
    }

    #[test]
    fn a_mark_from_before_there_were_epochs_is_one_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, journal) = (folder.path().join("voted"), folder.path().join("votes"));
        fs::write(&mark, "voted net\n").unwrap();
        assert_eq!(standing(&mark, &journal, "net", 0).unwrap(), Standing::Lost);
        assert_eq!(standing(&mark, &journal, "net", 1).unwrap(), Standing::Votes);
    }

    #[test]
    fn what_was_restored_follows_unless_all_begin_again() {
        let folder = tempfile::tempdir().unwrap();
        let (mark, journal) = (folder.path().join("voted"), folder.path().join("votes"));
        let standing = |epoch| standing(&mark, &journal, "net", epoch).unwrap();
        restored(&mark, "net", 3, false).unwrap();
        assert_eq!(
            [3, 4, 1_000].map(standing),
            [Standing::Lost; 3],
            "nobody knows how long it voted"
        );
        restored(&mark, "net", 3, true).unwrap();
        assert_eq!(standing(3), Standing::Lost, "only with the place that is made for it");
        fs::remove_file(&mark).unwrap();
        assert_eq!(standing(7), Standing::Votes);
        restored(&mark, "net", 3, false).unwrap();
        assert_eq!([3, 7].map(standing), [Standing::Lost; 2], "up to the last that it voted in");
        assert_eq!(standing(8), Standing::Votes);
        restored(&mark, "net", 3, true).unwrap();
        assert_eq!(standing(3), Standing::Votes);
    }

    #[test]
    fn another_network_is_another_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("voted");
        for network in ["one", "two"] {
            let journal = folder.path().join(network);
            assert_eq!(standing(&mark, &journal, network, 0).unwrap(), Standing::Votes);
            fs::remove_dir_all(&journal).unwrap();
        }
        for network in ["one", "two"] {
            let journal = folder.path().join(network);
            assert_eq!(standing(&mark, &journal, network, 0).unwrap(), Standing::Lost);
        }
    }
}
