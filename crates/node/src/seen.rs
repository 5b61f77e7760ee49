//! The heights of the ledger that this user has seen, by network: nothing older is ever accepted.
//!
//! A text file, a line per network: its id, a space, the height. Only a height that was proven goes
//! there: a node that lies about it would keep its user from all honest ones.

use crate::client::Elsewhere;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// None keeps it in memory.
    file: Option<PathBuf>,
    /// Whether several nodes are asked, or one for longer than a command lasts: then each has to
    /// prove its heights. A node by itself could lock out nobody but itself.
    shared: bool,
    state: Mutex<State>,
}

/// What was seen before a question was asked.
pub(crate) struct Before(BTreeMap<String, u64>);

#[derive(Debug, Default)]
struct State {
    heights: BTreeMap<String, u64>,
    /// The network of the first answer; all nodes must be of one.
    network: Option<String>,
}

impl Seen {
    /// Reads the file, if there is one.
    pub(crate) fn open(file: PathBuf) -> Result<Self> {
        let heights = read(&file)?;
        let state = Mutex::new(State { heights, network: None });
        Ok(Self { file: Some(file), shared: true, state })
    }

    /// Where it is kept for this user: below `XDG_STATE_HOME`, else in `~/.local/state`; in memory
    /// for a user without a home.
    pub(crate) fn of_user() -> Result<Self> {
        let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let state = folder("XDG_STATE_HOME").filter(|path| path.is_absolute());
        let state = state.or_else(|| Some(folder("HOME")?.join(".local/state")));
        let in_memory = || Ok(Self { shared: true, ..Self::default() });
        state.map_or_else(in_memory, |state| Self::open(state.join("aegle/seen")))
    }

    /// The height that an answer must have, once the network is known.
    pub(crate) fn least(&self) -> Option<u64> {
        let state = self.state();
        state.heights.get(state.network.as_ref()?).copied()
    }

    /// What is seen now, for a question that is about to be asked.
    pub(crate) fn now(&self) -> Before {
        Before(self.state().heights.clone())
    }

    /// Whether an answer from this height on has to be proven before it is noted.
    pub(crate) fn needs_proof(&self, (network, height): (&str, u64)) -> bool {
        let seen = self.state().heights.get(network).copied().unwrap_or(0);
        self.shared && height > seen
    }

    /// Refuses what [`Self::note`] refuses, and notes the network only: what was answered shows
    /// nothing of the ledger.
    pub(crate) fn meet(&self, node: &str, of: (&str, u64), before: &Before) -> Result<()> {
        self.check(&mut self.state(), node, of, before)
    }

    /// Takes note of an answer, unless it is older than what was seen `before` its question, or of
    /// another network. Answers to several questions at once may come in any order.
    pub(crate) fn note(
        &self,
        node: &str,
        (network, height): (&str, u64),
        before: &Before,
    ) -> Result<()> {
        let mut state = self.state();
        self.check(&mut state, node, (network, height), before)?;
        if state.heights.get(network).is_some_and(|seen| height <= *seen) {
            return Ok(());
        }
        state.heights.insert(network.to_owned(), height);
        self.file.as_ref().map_or(Ok(()), |file| keep(file, &state.heights))
    }

    fn check(
        &self,
        state: &mut State,
        node: &str,
        (network, height): (&str, u64),
        before: &Before,
    ) -> Result<()> {
        if state.network.get_or_insert_with(|| network.to_owned()) != network {
            return Err(Elsewhere::new(format!("{node} is a node of another network")).into());
        }
        if let Some(seen) = before.0.get(network).filter(|seen| height < **seen) {
            let kept = self
                .file
                .as_ref()
                .map_or_else(String::new, |file| format!("; `{}` remembers it", file.display()));
            let why =
                format!("{node} is at height {height} of the ledger; {seen} was seen before{kept}");
            return Err(Elsewhere::new(why).into());
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(file: &Path) -> Result<BTreeMap<String, u64>> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        read => read.with_context(|| format!("could not read `{}`", file.display()))?,
    };
    let line = |line: &str| {
        let (network, height) = line.split_once(' ')?;
        Some((network.to_owned(), height.parse().ok()?))
    };
    let heights: Option<_> = text.lines().map(line).collect();
    heights.with_context(|| {
        format!("`{}` is damaged; if you remove it, older states are accepted once", file.display())
    })
}

/// Writes the greater of what is in the file and what is known here: two commands may run at once.
fn keep(file: &Path, heights: &BTreeMap<String, u64>) -> Result<()> {
    let mut all = read(file)?;
    for (network, height) in heights {
        let kept = all.entry(network.clone()).or_default();
        *kept = (*kept).max(*height);
    }
    let lines: Vec<_> = all.iter().map(|(network, height)| format!("{network} {height}")).collect();
    let text = lines.join("\n") + "\n";
    let folder = file.parent().context("the file of seen heights has no folder")?;
    let write = || -> Result<()> {
        fs::create_dir_all(folder)?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        std::io::Write::write_all(&mut new, text.as_bytes())?;
        new.persist(file)?;
        Ok(())
    };
    write().with_context(|| format!("could not write `{}`", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(seen: &Seen, node: &str, network: &str, height: u64) -> Result<()> {
        seen.note(node, (network, height), &seen.now())
    }

    #[test]
    fn answers_to_questions_that_were_asked_at_once_come_in_any_order() {
        let seen = Seen::default();
        note(&seen, "a", "one", 5).unwrap();
        let both = [seen.now(), seen.now()];
        seen.note("a", ("one", 7), &both[0]).unwrap();
        seen.note("a", ("one", 6), &both[1]).unwrap();
        assert_eq!(seen.least(), Some(7));
        assert!(note(&seen, "a", "one", 6).is_err(), "it was asked later");
    }

    #[test]
    fn nothing_older_is_accepted_also_by_the_next_command() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Seen::open(folder.path().join("state/seen")).unwrap();
        let first = open();
        assert_eq!(first.least(), None);
        note(&first, "a", "one", 7).unwrap();
        note(&first, "b", "one", 7).unwrap();
        assert_eq!(first.least(), Some(7));
        assert!(note(&first, "c", "two", 9).is_err(), "nodes of two networks in one list");

        let second = open();
        let old = note(&second, "a", "one", 6).unwrap_err();
        assert!(old.downcast_ref::<Elsewhere>().is_some());
        note(&second, "b", "one", 8).unwrap();
        let other = open();
        note(&other, "d", "two", 3).unwrap();
        note(&first, "a", "one", 7).unwrap();
        let text = fs::read_to_string(folder.path().join("state/seen")).unwrap();
        assert_eq!(text, "one 8\ntwo 3\n");
    }

    #[test]
    fn a_damaged_file_is_no_empty_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("seen");
        fs::write(&file, "one\n").unwrap();
        assert!(Seen::open(file).is_err());
    }
}
