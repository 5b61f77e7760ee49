//! Decoding yields what was encoded, and refuses every other byte string.

use super::strategies::*;
use aegle_ledger::*;
use aegle_model::Canonical;
use borsh::{BorshDeserialize, BorshSerialize};
use proptest::prelude::*;
use proptest::sample::Index;
use std::fmt::Debug;

/// A change to a byte string: a bit flipped, a byte put in or taken out, the end cut off.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        4 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        1 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => any::<Index>().prop_map(Damage::Remove),
        1 => any::<Index>().prop_map(Damage::Cut),
    ]
}

fn damaged(bytes: &[u8], damage: &Damage) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match damage {
        Damage::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
        _ if bytes.is_empty() => {}
        Damage::Flip(at, bit) => {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        Damage::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
    }
    bytes
}

/// The law of every format.
fn holds<T>(value: &T, changes: &[Damage]) -> Result<(), TestCaseError>
where
    T: BorshSerialize + BorshDeserialize + PartialEq + Debug,
{
    let mut bytes = borsh::to_vec(value).unwrap();
    prop_assert_eq!(&borsh::from_slice::<T>(&bytes).unwrap(), value);
    for change in changes {
        bytes = damaged(&bytes, change);
        if let Ok(other) = borsh::from_slice::<T>(&bytes) {
            prop_assert_eq!(&borsh::to_vec(&other).unwrap(), &bytes);
        }
    }
    Ok(())
}

macro_rules! every_format {
    ($($name:ident: $strategy:expr;)*) => {proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        $(#[test]
        fn $name(value in $strategy, changes in prop::collection::vec(damage(), 1..4)) {
            holds(&value, &changes)?;
        })*
    }};
}

every_format! {
    sets_are_canonical: bits();
    windows_are_canonical: window();
    purposes_are_canonical: purposes();
    scopes_are_canonical: scope();
    rules_are_canonical: rule();
    parts_are_canonical: part();
    requests_are_canonical: request();
    vocabularies_are_canonical: vocabulary();
    transactions_are_canonical: transaction();
    outcomes_are_canonical: outcome();
    headers_are_canonical: header();
    blocks_are_canonical: block();
    certificates_are_canonical: certificate();
    anchors_are_canonical: anchor();
    receipts_are_canonical: receipt();
    patient_logs_are_canonical: patient_log();
    opened_requests_are_canonical: opened_request();
    opened_rules_are_canonical: opened_rule();
    genesis_is_canonical: genesis();
}

proptest! {
    #[test]
    fn a_block_is_decoded_with_the_body_that_its_header_commits_to(
        block in block(),
        change in damage(),
    ) {
        let bytes = block.to_bytes();
        prop_assert_eq!(&Block::decode(&bytes).unwrap(), &block);
        if let Ok(other) = Block::decode(&damaged(&bytes, &change)) {
            // Only the header can differ: the body is bound by it.
            prop_assert!(other == block || other.header != block.header);
        }
    }

    #[test]
    fn what_strangers_send_is_checked_without_a_panic(
        receipt in receipt(),
        log in patient_log(),
        genesis in genesis(),
    ) {
        let network = genesis.network();
        prop_assert!(receipt.transaction.check(network).is_err());
        prop_assert!(receipt.verify(&genesis).is_err());
        prop_assert!(log.verify(&genesis).is_err());
        prop_assert!(genesis.check().is_err());
    }
}

#[test]
fn heights_at_the_end_of_time_are_no_chain() {
    let network = fixture::Network::new(4);
    let mut anchor = network.anchor(0);
    anchor.header.height = u64::MAX;
    let next = Header { parent: anchor.header.digest(), height: 0, ..anchor.header.clone() };
    anchor.links = vec![next];
    assert_eq!(anchor.verify(&network.genesis), Err(AnchorError::Chain));
}
