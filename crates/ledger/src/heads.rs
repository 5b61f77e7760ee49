//! The tree of heads: one leaf per patient, committed to in every header.
//!
//! Patients are numbered as they are enrolled. Pages of 16 children, stored as state records, keep
//! an update to a few records; inside a page the children are hashed as a binary tree, so that a
//! proof has four siblings a page.

use crate::state::{Key, keys};
use aegle_model::{Hash, PatientId};
use borsh::{BorshDeserialize, BorshSerialize};

const WIDTH: u64 = 16;

/// The children of one page; fewer than sixteen at the right edge.
#[derive(Debug, Clone, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Page(Vec<Hash>);

impl crate::state::Record for Page {}

/// A patient's leaf.
pub(crate) fn leaf(patient: PatientId, entries: u64, head: Hash) -> Hash {
    Hash::of("aegle.heads.leaf", &[patient.as_bytes(), &entries.to_le_bytes(), head.as_bytes()])
}

/// The root over `patients` leaves whose topmost page hashes to `top`.
pub(crate) fn root(patients: u64, top: Hash) -> Hash {
    Hash::of("aegle.heads.root", &[&patients.to_le_bytes(), top.as_bytes()])
}

/// How many levels of pages hold `patients` leaves.
pub(crate) fn levels(patients: u64) -> u8 {
    let mut levels = 1;
    let mut capacity = WIDTH;
    while capacity < patients {
        capacity = capacity.saturating_mul(WIDTH);
        levels += 1;
    }
    levels
}

/// The (level, page) pairs from a leaf to the top.
pub(crate) fn path(index: u64, patients: u64) -> impl Iterator<Item = (u8, u64)> {
    (0..levels(patients)).map(move |level| (level, index / WIDTH.pow(u32::from(level) + 1)))
}

/// Where pages are kept while a block is executed.
pub(crate) trait Pages {
    /// What stops a read.
    type Stop;
    /// The page under a key, empty when there is none.
    fn page(&mut self, key: &Key) -> Result<Page, Self::Stop>;
    /// Keeps a page.
    fn keep(&mut self, key: Key, page: &Page);
}

/// Sets leaves, sorted by their index, and returns the hash of the topmost page; none without any.
/// However many leaves change below a page, it is hashed once.
pub(crate) fn set<P: Pages>(
    pages: &mut P,
    patients: u64,
    leaves: Vec<(u64, Hash)>,
) -> Result<Option<Hash>, P::Stop> {
    let mut children = leaves;
    for level in 0..levels(patients) {
        let mut above = Vec::new();
        for siblings in children.chunk_by(|a, b| a.0 / WIDTH == b.0 / WIDTH) {
            let number = siblings[0].0 / WIDTH;
            let key = keys::heads(level, number);
            let mut page = pages.page(&key)?;
            for (position, child) in siblings {
                page.set(slot(*position), *child);
            }
            above.push((number, page.hash()));
            pages.keep(key, &page);
        }
        children = above;
    }
    Ok(children.first().map(|(_, top)| *top))
}

/// Puts the old topmost page under a new one, when the tree has grown to `patients` leaves.
pub(crate) fn raise<P: Pages>(pages: &mut P, patients: u64) -> Result<(), P::Stop> {
    let top = levels(patients) - 1;
    if let Some(below) = top.checked_sub(1) {
        let old = pages.page(&keys::heads(below, 0))?;
        let mut page = Page::default();
        page.set(0, old.hash());
        pages.keep(keys::heads(top, 0), &page);
    }
    Ok(())
}

fn slot(position: u64) -> usize {
    usize::try_from(position % WIDTH).expect("below sixteen")
}

impl Page {
    fn set(&mut self, slot: usize, child: Hash) {
        if self.0.len() <= slot {
            self.0.resize(slot + 1, Hash::ZERO);
        }
        self.0[slot] = child;
    }

    /// The binary layers from the sixteen children up to the page's hash.
    fn layers(&self) -> Vec<Vec<Hash>> {
        let mut children = self.0.clone();
        children.resize(slot(WIDTH - 1) + 1, Hash::ZERO);
        let mut layers = vec![children];
        while let Some(layer) = layers.last().filter(|layer| layer.len() > 1) {
            let next = layer.chunks_exact(2).map(|pair| node(&pair[0], &pair[1])).collect();
            layers.push(next);
        }
        layers
    }

    fn hash(&self) -> Hash {
        self.layers().last().expect("a page has a top")[0]
    }

    fn siblings(&self, slot: usize) -> impl Iterator<Item = Hash> {
        let mut layers = self.layers();
        layers.pop();
        layers.into_iter().enumerate().map(move |(depth, layer)| layer[slot >> depth ^ 1])
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Hash::of("aegle.heads.node", &[left.as_bytes(), right.as_bytes()])
}

/// Shows a patient's entry count and newest hash under a header's `heads`.
#[derive(Debug, Clone, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct HeadProof {
    /// The patient's position.
    pub index: u64,
    /// How many patients the tree holds.
    pub patients: u64,
    /// The siblings, from the leaf up.
    pub siblings: Vec<Hash>,
}

impl HeadProof {
    /// Builds the proof from the records under [`keys::head_path`]; none when they are damaged.
    pub fn new(index: u64, patients: u64, records: &[Vec<u8>]) -> Option<Self> {
        let mut position = index;
        let mut siblings = Vec::new();
        for record in records {
            let page = Page::try_from_slice(record).ok()?;
            siblings.extend(page.siblings(slot(position)));
            position /= WIDTH;
        }
        Some(Self { index, patients, siblings })
    }

    /// The root that this proof leads to from a patient's leaf; none when the shape is wrong.
    pub fn root(&self, patient: PatientId, entries: u64, head: Hash) -> Option<Hash> {
        let fits = self.siblings.len() == usize::from(levels(self.patients)) * 4;
        if self.index >= self.patients || !fits {
            return None;
        }
        let start = leaf(patient, entries, head);
        let top = self.siblings.iter().enumerate().fold(start, |hash, (depth, sibling)| {
            if self.index >> depth & 1 == 0 { node(&hash, sibling) } else { node(sibling, &hash) }
        });
        Some(root(self.patients, top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    #[derive(Default)]
    struct Store(BTreeMap<Key, Page>);

    impl Pages for Store {
        type Stop = Infallible;
        fn page(&mut self, key: &Key) -> Result<Page, Infallible> {
            Ok(self.0.get(key).cloned().unwrap_or_default())
        }
        fn keep(&mut self, key: Key, page: &Page) {
            self.0.insert(key, page.clone());
        }
    }

    fn patient(index: u64) -> PatientId {
        PatientId::from_array([index.to_le_bytes(), [7; 8]].concat().try_into().unwrap())
    }

    fn proof(store: &Store, index: u64, patients: u64) -> HeadProof {
        let records: Vec<Vec<u8>> = keys::head_path(index, patients)
            .iter()
            .map(|key| borsh::to_vec(&store.0[key]).unwrap())
            .collect();
        HeadProof::new(index, patients, &records).unwrap()
    }

    #[test]
    fn every_patient_is_proven_while_the_tree_grows() {
        let mut store = Store::default();
        let (mut top, mut patients) = (Hash::ZERO, 0);
        for index in 0..300 {
            if levels(patients + 1) > levels(patients) {
                raise(&mut store, patients + 1).unwrap();
            }
            patients += 1;
            let leaf = leaf(patient(index), index, Hash::ZERO);
            top = set(&mut store, patients, vec![(index, leaf)]).unwrap().unwrap();
        }
        let root = root(patients, top);
        for index in 0..300 {
            let proof = proof(&store, index, patients);
            assert_eq!(proof.root(patient(index), index, Hash::ZERO), Some(root));
            assert_ne!(proof.root(patient(index), index + 1, Hash::ZERO), Some(root));
            assert_ne!(proof.root(patient(index + 1), index, Hash::ZERO), Some(root));
        }
    }

    #[test]
    fn leaves_that_are_set_together_lead_to_the_same_root() {
        let patients = 700;
        let leaf = |index| (index, leaf(patient(index), 1, Hash::ZERO));
        let changed: Vec<_> = [0, 1, 15, 16, 255, 256, 699].map(leaf).to_vec();
        let (mut one_by_one, mut together) = (Store::default(), Store::default());
        let mut last = None;
        for leaf in &changed {
            last = set(&mut one_by_one, patients, vec![*leaf]).unwrap();
        }
        assert_eq!(set(&mut together, patients, changed).unwrap(), last);
        assert_eq!(together.0, one_by_one.0);
        assert_eq!(set(&mut together, patients, Vec::new()).unwrap(), None);
    }
}
