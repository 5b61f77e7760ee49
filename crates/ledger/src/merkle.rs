//! Merkle trees over a block's entries, as in RFC 6962 section 2.1.

use aegle_model::Hash;
use borsh::{BorshDeserialize, BorshSerialize};

/// The root over `leaves` (each the canonical bytes of one entry).
pub fn merkle_root(leaves: &[Vec<u8>]) -> Hash {
    let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    root(&hashes)
}

/// Shows that a leaf stands at a position of a tree of a known size.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct InclusionProof {
    /// The leaf's position, from 0.
    pub index: u32,
    /// How many leaves the tree has.
    pub size: u32,
    /// The siblings, from the leaf up.
    pub path: Vec<Hash>,
}

impl InclusionProof {
    /// The proof for `leaves[index]`.
    pub fn new(leaves: &[Vec<u8>], index: usize) -> Self {
        let hashes: Vec<Hash> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
        let mut path = Vec::new();
        siblings(&hashes, index, &mut path);
        let small = |count: usize| u32::try_from(count).expect("a block has few entries");
        Self { index: small(index), size: small(leaves.len()), path }
    }

    /// The root of the tree in which `leaf` stands here; none when the path does not fit.
    pub fn root(&self, leaf: &[u8]) -> Option<Hash> {
        if self.index >= self.size {
            return None;
        }
        let mut path = self.path.iter().rev();
        let root = climb(self.index, self.size, leaf_hash(leaf), &mut path)?;
        path.next().is_none().then_some(root)
    }
}

fn leaf_hash(leaf: &[u8]) -> Hash {
    Hash::sha256(&[&[0], leaf])
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Hash::sha256(&[&[1], left.as_bytes(), right.as_bytes()])
}

fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => Hash::sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = hashes.split_at(split(hashes.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: usize) -> usize {
    1 << (size - 1).ilog2()
}

fn siblings(hashes: &[Hash], index: usize, path: &mut Vec<Hash>) {
    if hashes.len() < 2 {
        return;
    }
    let middle = split(hashes.len());
    let (left, right) = hashes.split_at(middle);
    if index < middle {
        siblings(left, index, path);
        path.push(root(right));
    } else {
        siblings(right, index - middle, path);
        path.push(root(left));
    }
}

/// Walks down the shape of the tree, then folds the siblings on the way back up.
fn climb<'a>(
    index: u32,
    size: u32,
    leaf: Hash,
    path: &mut impl Iterator<Item = &'a Hash>,
) -> Option<Hash> {
    if size == 1 {
        return Some(leaf);
    }
    let sibling = path.next()?;
    let middle = 1 << (size - 1).ilog2();
    if index < middle {
        Some(node_hash(&climb(index, middle, leaf, path)?, sibling))
    } else {
        Some(node_hash(sibling, &climb(index - middle, size - middle, leaf, path)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Vec<u8>> {
        (0..count).map(|number| vec![number; 3]).collect()
    }

    #[test]
    fn the_root_of_nothing_is_the_hash_of_nothing() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(merkle_root(&[]).to_string(), empty);
    }

    #[test]
    fn every_leaf_of_every_small_tree_is_proven_and_no_other() {
        for count in 1..20 {
            let leaves = leaves(count);
            for index in 0..usize::from(count) {
                let proof = InclusionProof::new(&leaves, index);
                assert_eq!(proof.root(&leaves[index]), Some(merkle_root(&leaves)));
                assert_ne!(proof.root(b"other"), Some(merkle_root(&leaves)));
                let moved =
                    InclusionProof { index: (proof.index + 1) % proof.size, ..proof.clone() };
                assert!(count == 1 || moved.root(&leaves[index]) != Some(merkle_root(&leaves)));
                let mut long = proof.clone();
                long.path.push(Hash::ZERO);
                assert_ne!(long.root(&leaves[index]), Some(merkle_root(&leaves)));
            }
        }
    }

    #[test]
    fn a_tree_of_any_claimed_size_has_a_root_or_none() {
        for (size, siblings) in [(u32::MAX, 32), ((1 << 31) + 1, 32), (1 << 31, 31), (1, 0)] {
            let proof = |count| InclusionProof { index: 0, size, path: vec![Hash::ZERO; count] };
            assert!(proof(siblings).root(b"leaf").is_some());
            assert_eq!(proof(siblings + 1).root(b"leaf"), None);
        }
        let last = InclusionProof { index: u32::MAX - 1, size: u32::MAX, path: Vec::new() };
        assert_eq!(last.root(b"leaf"), None);
        // No proof makes the verifier climb higher than the tree.
        let high = InclusionProof { index: 0, size: u32::MAX, path: vec![Hash::ZERO; 1 << 20] };
        assert_eq!(high.root(b"leaf"), None);
    }
}
