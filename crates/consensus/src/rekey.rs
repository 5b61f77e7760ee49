//! A folder of the engine under a new node key.
//!
//! The folder says whose it is, so that no key starts with the journal of another. When the members
//! have given a centre a new key, the blocks stay good and need not be fetched again: the new key has
//! voted for nothing, and votes from an epoch on in which the old one has no vote.

use crate::node::{MARK, StartError, claim};
use aegle_ledger::Genesis;
use aegle_model::PublicKey;
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

/// Whether the folder is there and belongs to this network and key.
pub fn belongs(dir: &Path, genesis: &Genesis, key: &PublicKey) -> bool {
    dir.join(MARK).is_file() && claim(dir, genesis, key).is_ok()
}

/// Gives a folder that belongs to the key `old` to the key `new`; one that is `new`'s already, or not
/// there, stays so. No engine may run on it, and the members must have given `old`'s place to `new`.
pub fn rekey(
    dir: &Path,
    genesis: &Genesis,
    (old, new): (&PublicKey, &PublicKey),
) -> Result<(), StartError> {
    if !dir.join(MARK).exists() || belongs(dir, genesis, new) {
        return Ok(());
    }
    claim(dir, genesis, old)?;
    let write = || -> io::Result<()> {
        let fresh = dir.join("network.new");
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{}\n{new}\n", genesis.hash()).as_bytes())?;
        file.sync_all()?;
        fs::rename(fresh, dir.join(MARK))?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|source| StartError::Folder { dir: dir.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_folder_goes_from_its_own_key_to_another_and_to_no_third() {
        let keys = fixture::keys(3);
        let genesis = fixture::genesis(&keys);
        let [old, new, third] = [0, 1, 2].map(|key: usize| keys[key].public());
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("ledger");
        rekey(&dir, &genesis, (&old, &new)).unwrap();
        assert!(!dir.exists(), "what is not there is not made");
        claim(&dir, &genesis, &old).unwrap();
        assert!(belongs(&dir, &genesis, &old) && !belongs(&dir, &genesis, &new));
        let foreign = rekey(&dir, &genesis, (&third, &new));
        assert!(matches!(foreign, Err(StartError::Foreign { .. })));
        for _ in 0..2 {
            rekey(&dir, &genesis, (&old, &new)).unwrap();
            assert!(belongs(&dir, &genesis, &new) && !belongs(&dir, &genesis, &old));
        }
        claim(&dir, &genesis, &new).unwrap();
    }
}
