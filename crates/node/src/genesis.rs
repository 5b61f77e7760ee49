//! `aegle genesis`: one genesis from the cards of all centres.
//!
//! Everybody who runs it with the same cards and words gets the same bytes, so nobody has to be
//! trusted with it: people compare the hash.

use crate::card;
use crate::files::{self, PUBLIC};
use aegle_access::Policy;
use aegle_ledger::{Centre, Epochs, Genesis};
use aegle_model::{Canonical, Name, Timestamp};
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};

/// Make the genesis of a network from the cards of its centres
#[derive(Parser)]
pub(crate) struct Args {
    /// The network's name
    #[arg(long)]
    name: Name,
    /// When the network begins, such as 2026-10-01T00:00:00Z; it cannot agree on anything earlier
    #[arg(long, value_name = "RFC3339")]
    time: jiff::Timestamp,
    /// Nobody may break the glass: emergencies follow the patients' rules, too
    #[arg(long)]
    no_emergency: bool,
    /// How many blocks an epoch has; what members agree on takes effect when one ends
    #[arg(long, value_name = "BLOCKS", default_value_t = Epochs::DEFAULT.0.get(), value_parser = clap::value_parser!(u64).range(2..))]
    epoch_blocks: u64,
    /// The centres' cards, in any order
    #[arg(required = true, value_name = "CARD")]
    cards: Vec<PathBuf>,
    /// Where the genesis goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let time = u64::try_from(args.time.as_millisecond()).map(Timestamp);
    let time = time.context("a network cannot begin before 1970")?;
    let read = |path: &PathBuf| Ok((path.clone(), card::load(path)?));
    let cards = args.cards.iter().map(read).collect::<Result<Vec<_>>>()?;
    let policy = Policy { emergency: !args.no_emergency };
    let epochs = Epochs::new(args.epoch_blocks).context("an epoch has at least two blocks")?;
    let genesis = Genesis { epochs, ..assemble(args.name.clone(), time, policy, cards)? };
    save(&args.output, &genesis)?;
    tell(&genesis);
    Ok(())
}

/// The genesis of the centres on these cards, the same in whatever order they come.
fn assemble(
    name: Name,
    time: Timestamp,
    policy: Policy,
    mut cards: Vec<(PathBuf, Centre)>,
) -> Result<Genesis> {
    cards.sort_by_key(|(_, centre)| centre.key);
    for (position, (path, centre)) in cards.iter().enumerate() {
        for (other, before) in &cards[..position] {
            let same = if before.key == centre.key {
                "the same key"
            } else if before.code == centre.code {
                "the same code"
            } else {
                continue;
            };
            bail!(
                "the cards `{}` and `{}` have {same}; every centre brings one card of its own",
                other.display(),
                path.display()
            );
        }
    }
    let centres = cards.into_iter().map(|(_, centre)| centre).collect();
    let genesis = Genesis { name, time, policy, epochs: Epochs::DEFAULT, centres };
    genesis.check()?;
    Ok(genesis)
}

/// Writes the genesis unless it is there already; never over another one.
fn save(path: &Path, genesis: &Genesis) -> Result<()> {
    let bytes = genesis.to_bytes();
    match std::fs::read(path) {
        Ok(found) if found == bytes => Ok(()),
        Ok(_) => bail!(
            "`{}` holds something else; a network keeps its genesis for ever, so name another file",
            path.display()
        ),
        Err(_) => files::write_new(path, &bytes, PUBLIC),
    }
}

/// What people compare before they start their nodes.
fn tell(genesis: &Genesis) {
    println!("network  {}", genesis.network());
    println!("genesis  {}", genesis.hash());
    for centre in &genesis.centres {
        println!("centre   {}  {}", centre.id, centre.code);
    }
    let may_fail = genesis.centres.len().saturating_sub(1) / 3;
    println!("{may_fail} of {} centres may fail or lie", genesis.centres.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::tests::sample;

    fn cards(codes: &[(&str, u8)]) -> Vec<(PathBuf, Centre)> {
        codes
            .iter()
            .enumerate()
            .map(|(number, (code, seed))| (format!("{number}.toml").into(), sample(code, *seed).0))
            .collect()
    }

    fn genesis(codes: &[(&str, u8)]) -> Result<Genesis> {
        let (name, policy) = (Name::new("test").unwrap(), Policy { emergency: true });
        assemble(name, Timestamp(1_000), policy, cards(codes))
    }

    #[test]
    fn the_order_of_the_cards_does_not_matter() {
        let one = genesis(&[("A", 1), ("B", 2), ("C", 3), ("D", 4)]).unwrap();
        let other = genesis(&[("C", 3), ("A", 1), ("D", 4), ("B", 2)]).unwrap();
        assert_eq!(one.to_bytes(), other.to_bytes());
        assert_eq!(one.hash(), other.hash());
    }

    #[test]
    fn every_word_of_it_names_another_network() {
        let one = genesis(&[("A", 1), ("B", 2)]).unwrap();
        let other = genesis(&[("A", 1), ("C", 2)]).unwrap();
        let strict = Genesis { policy: Policy { emergency: false }, ..one.clone() };
        assert_ne!(one.network(), other.network());
        assert_ne!(one.network(), strict.network());
    }

    #[test]
    fn duplicates_are_refused_and_both_cards_named() {
        let codes = genesis(&[("A", 1), ("B", 2), ("A", 3)]).unwrap_err().to_string();
        let keys = genesis(&[("A", 1), ("B", 2), ("C", 1)]).unwrap_err().to_string();
        for (error, what) in [(codes, "the same code"), (keys, "the same key")] {
            let named = ["0.toml", "2.toml", what].iter().all(|part| error.contains(part));
            assert!(named && !error.contains("1.toml"), "{error}");
        }
    }

    #[test]
    fn a_different_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis");
        let one = genesis(&[("A", 1)]).unwrap();
        save(&path, &one).unwrap();
        save(&path, &one).unwrap();
        let error = save(&path, &genesis(&[("B", 2)]).unwrap()).unwrap_err().to_string();
        assert!(error.contains("holds something else"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), one.to_bytes());
    }
}
