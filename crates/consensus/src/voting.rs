//! Whether a node may vote in an epoch: never with a key that may have voted in it with another folder.
//!
//! The engine's journal holds what a node voted for in an epoch. A node that lost it could vote
//! otherwise for the same view, which is a lie to the others, whatever the reason. So a mark beside
//! the key says up to which epoch the key has voted, and with which folder. When the folder is
//! another one, or the journal is gone, the mark itself may be older than the last votes, for it may
//! come from a backup. Then the node only follows, until an epoch begins of which it sees that it began
//! after the loss was noticed: nobody can have voted in that one before.

use crate::application::AHEAD_MAX;
use aegle_model::Timestamp;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The file in a node's folder that holds its name.
const FOLDER: &str = "folder";

/// What a node may do in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Vote and propose.
    Votes,
    /// Follow: its key has voted in a later epoch, so the network is past this one.
    Behind,
    /// Follow: its key may have voted, and the journal of its votes is not there.
    Lost,
}

/// The mark beside a key, for a node with one folder in one network.
pub(crate) struct Mark {
    path: PathBuf,
    network: String,
    /// What tells the folder from any other.
    folder: String,
}

/// What a mark says of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lines {
    /// The last epoch that the key has voted in.
    voted: Option<u64>,
    /// The name of the folder it voted with.
    folder: Option<String>,
    /// Since when the key may vote only in epochs that began later.
    since: Option<Timestamp>,
}

impl Mark {
    /// Opens the mark of a node with the folder `dir`, which is named after the number `fresh` if it has
    /// no name. Notes the time if the key has voted with another folder.
    pub(crate) fn open(
        (path, network): (&Path, &str),
        dir: &Path,
        (fresh, now): (u64, Timestamp),
    ) -> io::Result<Self> {
        let mark =
            Self { path: path.to_owned(), network: network.to_owned(), folder: name(dir, fresh)? };
        let lines = mark.read()?;
        let is_other = lines.voted.is_some() && lines.folder.as_ref() != Some(&mark.folder);
        if is_other && lines.since.is_none() {
            mark.write(&Lines { since: Some(now), ..lines })?;
        }
        Ok(mark)
    }

    /// Whether the node may vote in an epoch with this `journal` (a folder), and notes that it does.
    /// `began` is the time of the block before the epoch, when the node enters it just there.
    pub(crate) fn standing(
        &self,
        journal: &Path,
        (epoch, began): (u64, Option<Timestamp>),
        now: Timestamp,
    ) -> io::Result<Standing> {
        let lines = self.read()?;
        if lines.voted.is_some_and(|voted| epoch < voted) {
            return Ok(Standing::Behind);
        }
        if let Some(since) = lines.since {
            // Clocks differ; a block may be so far ahead of this one.
            let safe = since.0.saturating_add(AHEAD_MAX);
            if began.is_none_or(|began| began.0 <= safe) {
                return Ok(Standing::Lost);
            }
        } else if lines.voted == Some(epoch) {
            if journal.is_dir() {
                return Ok(Standing::Votes);
            }
            self.write(&Lines { since: Some(now), ..lines })?;
            return Ok(Standing::Lost);
        }
        // The journal's place first: a node that dies in between has not voted and may start again.
        fs::create_dir_all(journal)?;
        let folder = Some(self.folder.clone());
        self.write(&Lines { voted: Some(epoch), folder, since: None })?;
        Ok(Standing::Votes)
    }

    /// Notes what the key may do with a folder that was made from a backup, in which `epoch` is next.
    /// With `votes` it may vote on from there, whatever it did before, and needs a place for its journal.
    /// Else it follows until it sees an epoch begin.
    pub(crate) fn restored(&self, epoch: u64, votes: bool, now: Timestamp) -> io::Result<()> {
        let lines = self.read()?;
        self.write(&if votes {
            Lines { voted: Some(epoch), folder: Some(self.folder.clone()), since: None }
        } else {
            Lines { voted: lines.voted.max(Some(epoch)), since: Some(now), ..lines }
        })
    }

    fn read(&self) -> io::Result<Lines> {
        read(&text(&self.path)?, &self.network)
    }

    /// Says this of the network, and leaves others alone. The mark is whole and on disk when this
    /// returns, whatever happens in between.
    fn write(&self, lines: &Lines) -> io::Result<()> {
        let network = &self.network;
        let marked = text(&self.path)?;
        let other = |line: &&str| line.split_whitespace().nth(1) != Some(network);
        let mut said: Vec<_> = marked.lines().filter(other).map(str::to_owned).collect();
        said.extend(lines.voted.map(|epoch| format!("voted {network} {epoch}")));
        said.extend(lines.folder.as_ref().map(|folder| format!("folder {network} {folder}")));
        said.extend(lines.since.map(|since| format!("since {network} {}", since.0)));
        replace(&self.path, &(said.join("\n") + "\n"))
    }
}

/// Now: in nanoseconds since 1970, for a new folder's name, and as a time.
pub(crate) fn moment() -> (u64, Timestamp) {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
    (nanoseconds, Timestamp(nanoseconds / 1_000_000))
}

/// Whether the key that the mark at `path` stands beside has ever voted in `network`.
pub(crate) fn has_voted(path: &Path, network: &str) -> io::Result<bool> {
    Ok(read(&text(path)?, network)?.voted.is_some())
}

/// The name of a folder, which it gets now if it has none.
fn name(dir: &Path, fresh: u64) -> io::Result<String> {
    let path = dir.join(FOLDER);
    let found = text(&path)?;
    if !found.trim().is_empty() {
        return Ok(found.trim().to_owned());
    }
    let name = format!("{fresh:016x}");
    fs::create_dir_all(dir)?;
    replace(&path, &format!("{name}\n"))?;
    Ok(name)
}

/// What is in a file; nothing when it is not there.
fn text(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read,
    }
}

/// What a mark says of `network`. What cannot be read must not count as never having voted.
fn read(marked: &str, network: &str) -> io::Result<Lines> {
    let mut lines = Lines::default();
    for line in marked.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("the line `{line}`"));
        let number = |word: &str| word.parse::<u64>().map_err(|_| damaged());
        match words.as_slice() {
            [_, other, ..] if *other != network => {}
            ["voted", _, epoch] => lines.voted = Some(number(epoch)?),
            ["folder", _, folder] => lines.folder = Some((*folder).to_owned()),
            ["since", _, since] => lines.since = Some(Timestamp(number(since)?)),
            [] => {}
            _ => return Err(damaged()),
        }
    }
    Ok(lines)
}

/// Puts a text in the place of a file, whole and on disk.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    sync_folder(path)
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

    const NOW: Timestamp = Timestamp(100_000);
    /// Just late enough, and just not.
    const LATER: Option<Timestamp> = Some(Timestamp(NOW.0 + AHEAD_MAX + 1));
    const TOO_EARLY: Option<Timestamp> = Some(Timestamp(NOW.0 + AHEAD_MAX));

    /// A key's mark and folders.
    struct World(tempfile::TempDir);

    impl World {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("secrets.voted")
        }

        fn dir(&self) -> PathBuf {
            self.0.path().join("ledger")
        }

        /// Starts a node; a folder that is new is named after the number.
        fn start(&self, fresh: u64) -> Node {
            let (path, dir) = (self.path(), self.dir());
            Node(Mark::open((&path, "net"), &dir, (fresh, NOW)).unwrap(), dir)
        }

        fn wipe(&self) {
            fs::remove_dir_all(self.dir()).unwrap();
        }

        fn marked(&self) -> String {
            fs::read_to_string(self.path()).unwrap()
        }
    }

    struct Node(Mark, PathBuf);

    impl Node {
        fn enters(&self, epoch: u64, began: Option<Timestamp>) -> Standing {
            let journal = self.1.join(format!("votes-{epoch}"));
            self.0.standing(&journal, (epoch, began), NOW).unwrap()
        }
    }

    #[test]
    fn a_key_that_voted_needs_its_folder_until_an_epoch_begins() {
        let world = World::new();
        assert!(!has_voted(&world.path(), "net").unwrap());
        let node = world.start(1);
        assert_eq!(node.enters(0, None), Standing::Votes, "the first start");
        assert!(has_voted(&world.path(), "net").unwrap());
        assert!(!has_voted(&world.path(), "other").unwrap());
        let node = world.start(2);
        assert_eq!(node.enters(0, None), Standing::Votes, "a start after a crash");
        assert_eq!(node.enters(3, None), Standing::Votes);
        assert_eq!(node.enters(2, LATER), Standing::Behind, "it has voted in a later epoch");
        assert_eq!(world.marked(), "voted net 3\nfolder net 0000000000000001\n");
        world.wipe();
        let node = world.start(3);
        for epoch in [3, 4, 9] {
            assert_eq!(node.enters(epoch, None), Standing::Lost, "nobody knows when {epoch} began");
            assert_eq!(node.enters(epoch, TOO_EARLY), Standing::Lost);
        }
        assert_eq!(node.enters(2, LATER), Standing::Behind);
        assert_eq!(world.start(4).enters(9, None), Standing::Lost, "also after another start");
        assert_eq!(node.enters(9, LATER), Standing::Votes, "nobody has voted there yet");
        assert_eq!(world.marked(), "voted net 9\nfolder net 0000000000000003\n");
        assert_eq!(world.start(5).enters(9, None), Standing::Votes);
    }

    #[test]
    fn a_mark_from_a_backup_does_not_know_the_last_votes() {
        let world = World::new();
        world.start(1).enters(0, None);
        let backup = world.marked();
        world.start(1).enters(7, None);
        world.wipe();
        fs::write(world.path(), backup).unwrap();
        let node = world.start(2);
        assert_eq!([1, 7, 8].map(|epoch| node.enters(epoch, None)), [Standing::Lost; 3]);
        assert_eq!(node.enters(8, LATER), Standing::Votes);
    }

    #[test]
    fn the_very_folder_it_voted_with_may_be_put_back() {
        let world = World::new();
        world.start(1).enters(4, None);
        let aside = world.0.path().join("aside");
        fs::rename(world.dir(), &aside).unwrap();
        assert_eq!(world.start(2).enters(4, None), Standing::Lost);
        world.wipe();
        fs::rename(&aside, world.dir()).unwrap();
        assert_eq!(world.start(3).enters(4, None), Standing::Lost, "until somebody says so");
        let marked = world.marked();
        let (without, _) = marked.split_once("since ").unwrap();
        fs::write(world.path(), without).unwrap();
        assert_eq!(world.start(4).enters(4, None), Standing::Votes);
    }

    #[test]
    fn a_journal_that_is_gone_by_itself_is_noticed_too() {
        let world = World::new();
        let node = world.start(1);
        node.enters(4, None);
        fs::remove_dir_all(world.dir().join("votes-4")).unwrap();
        assert_eq!(node.enters(4, None), Standing::Lost);
        fs::create_dir_all(world.dir().join("votes-4")).unwrap();
        assert_eq!(node.enters(4, None), Standing::Lost, "a follower keeps no journal of votes");
        assert_eq!(node.enters(5, LATER), Standing::Votes);
    }

    #[test]
    fn what_was_restored_follows_unless_all_begin_again() {
        let world = World::new();
        let node = world.start(1);
        node.0.restored(3, false, NOW).unwrap();
        assert_eq!([3, 1_000].map(|epoch| node.enters(epoch, None)), [Standing::Lost; 2]);
        assert_eq!(node.enters(4, LATER), Standing::Votes);
        node.0.restored(3, true, NOW).unwrap();
        assert_eq!(node.enters(3, None), Standing::Lost, "only with the place that is made for it");
        node.0.restored(3, true, NOW).unwrap();
        fs::create_dir_all(world.dir().join("votes-3")).unwrap();
        assert_eq!(world.start(2).enters(3, None), Standing::Votes);
    }

    #[test]
    fn another_network_is_another_beginning() {
        let world = World::new();
        world.start(1).enters(5, None);
        let (path, dir) = (world.path(), world.0.path().join("other"));
        let other = Node(Mark::open((&path, "other"), &dir, (9, NOW)).unwrap(), dir);
        assert_eq!(other.enters(0, None), Standing::Votes);
        assert_eq!(world.start(2).enters(5, None), Standing::Votes);
        let marked = "voted net 5\nfolder net 0000000000000001\n\
                      voted other 0\nfolder other 0000000000000009\n";
        assert_eq!(world.marked(), marked);
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_not_taken_for_none() {
        let world = World::new();
        for damaged in ["voted net x", "voted net", "gone net 1", "voted"] {
            fs::write(world.path(), damaged).unwrap();
            let opened = Mark::open((&world.path(), "net"), &world.dir(), (1, NOW));
            assert_eq!(opened.err().unwrap().kind(), io::ErrorKind::InvalidData, "{damaged}");
        }
    }
}
