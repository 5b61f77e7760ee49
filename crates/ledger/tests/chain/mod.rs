//! Everything that somebody could try with a backup, each try caught and called by its name.

use crate::world::{MINE, World, key};
use crate::{HEADER_CHANGES, other_outcomes};
use aegle_ledger::fixture::{Network, bytes, flip};
use aegle_ledger::*;
use aegle_model::*;

/// Blocks in one segment.
const STRETCH: usize = 10;

/// All blocks of a network with their votes.
fn chain(network: &Network) -> Vec<CertifiedBlock> {
    let blocks = network.blocks[1..].iter().cloned();
    let certified = |block: Block| {
        let certificate = Some(network.anchor(block.header.height).certificate);
        CertifiedBlock { block, certificate }
    };
    blocks.map(certified).collect()
}

/// Checks a chain as it would come from files, and says what is wrong with it.
fn check(genesis: &Genesis, blocks: &[CertifiedBlock]) -> Result<CheckedChain, &'static str> {
    let mut check = ChainCheck::new(genesis);
    for stretch in blocks.chunks(STRETCH) {
        let segment = write_segment(stretch.to_vec()).unwrap();
        let read = read_segment(&segment).map_err(|error| error.cheat())?;
        check.take(&read).map_err(|error| error.cheat())?;
    }
    check.finish().map_err(|error| error.cheat())
}

/// Who catches cheats, and how many so far.
struct Checker {
    genesis: Genesis,
    blocks: Vec<CertifiedBlock>,
    caught: usize,
}

impl Checker {
    /// The chain with a change.
    #[track_caller]
    fn cheat(&mut self, names: &[&str], change: impl FnOnce(&mut Vec<CertifiedBlock>)) {
        let mut cheated = self.blocks.clone();
        change(&mut cheated);
        let name = check(&self.genesis, &cheated).expect_err("a cheat passed");
        assert!(names.contains(&name), "{name} instead of {names:?}");
        self.caught += 1;
    }

    /// The chain with one block changed, once with its votes and once without.
    #[track_caller]
    fn block(&mut self, number: usize, names: &[&str], change: impl Fn(&mut Block)) {
        self.cheat(names, |blocks| change(&mut blocks[number].block));
        self.cheat(names, |blocks| {
            blocks[number].certificate = None;
            change(&mut blocks[number].block);
        });
    }

    /// The chain with one block's entries changed and the header made to fit them.
    #[track_caller]
    fn entries(&mut self, number: usize, change: impl Fn(&mut Vec<(Transaction, Outcome)>)) {
        self.block(number, &["altered-block"], |block| {
            change(&mut block.entries);
            block.header.transactions = merkle_root(&block.leaves());
        });
        self.block(number, &["altered-block"], |block| change(&mut block.entries));
    }
}

#[test]
fn an_honest_chain_holds_wherever_votes_are_missing_but_at_its_end() {
    let world = World::new(4);
    let (genesis, blocks) = (&world.network.genesis, chain(&world.network));
    let whole = check(genesis, &blocks).unwrap();
    assert_eq!(whole.tip, *world.network.tip());
    assert_eq!(whole.transactions, blocks.len() as u64);
    for end in 1..=blocks.len() {
        let older = check(genesis, &blocks[..end]).unwrap();
        assert_eq!(older.tip.height, end as u64);
        let mut sparse = blocks[..end].to_vec();
        sparse[..end - 1].iter_mut().for_each(|block| block.certificate = None);
        assert_eq!(check(genesis, &sparse), Ok(older));
        sparse[end - 1].certificate = None;
        assert_eq!(check(genesis, &sparse), Err("uncovered-end"));
    }
}

#[test]
fn a_thousand_cheats_with_a_chain_are_caught_by_name() {
    let world = World::new(4);
    let (genesis, blocks) = (world.network.genesis.clone(), chain(&world.network));
    let mut checker = Checker { genesis, blocks, caught: 0 };
    let families: [fn(&World, &mut Checker); 7] =
        [order, headers, bodies, votes, strangers, forks, files];
    for family in families {
        family(&world, &mut checker);
    }
    println!("{} cheats with a chain, all caught", checker.caught);
    assert!(checker.caught >= 1_000, "{}", checker.caught);
}

fn order(_: &World, checker: &mut Checker) {
    let count = checker.blocks.len();
    for from in 0..count - 1 {
        for until in from + 1..count {
            checker.cheat(&["missing-block"], |blocks| drop(blocks.drain(from..until)));
        }
    }
    for one in 0..count {
        for other in (0..one).step_by(3) {
            // Whether the block whose turn it is comes later shows only within one segment.
            let early: &[_] = if one / STRETCH == other / STRETCH {
                &["reordered-block"]
            } else {
                &["missing-block", "reordered-block"]
            };
            checker.cheat(early, |blocks| blocks.swap(one, other));
            checker.cheat(early, |blocks| blocks.insert(other, blocks[one].clone()));
            checker.cheat(&["repeated-block"], |blocks| {
                blocks.insert(one + 1, blocks[other].clone());
            });
        }
    }
}

fn headers(_: &World, checker: &mut Checker) {
    for number in 0..checker.blocks.len() {
        for change in HEADER_CHANGES {
            // What each field answers for: its place, its link, or what executing it gives.
            let names = ["altered-block", "broken-chain", "missing-block", "forked-history"];
            checker.block(number, &names, |block| change(&mut block.header));
        }
        checker.block(number, &["altered-block"], |block| block.header.time.0 -= 10);
        checker.block(number, &["altered-block"], |block| block.header.version += 1);
        checker.block(number, &["altered-block"], |block| block.header.heads = Hash::ZERO);
        checker.block(number, &["altered-block"], |block| block.header.state = Hash::ZERO);
        checker.block(number, &["broken-chain"], |block| block.header.parent = Hash::ZERO);
        // The engine's part means nothing here: votes and the next block's link bind it.
        let bound = ["bad-signature", "broken-chain", "uncovered-end"];
        checker.block(number, &bound, |block| {
            block.engine.push(7);
            block.header.engine = Block::engine_hash(&block.engine);
        });
    }
}

fn bodies(_: &World, checker: &mut Checker) {
    for number in 0..checker.blocks.len() {
        let (transaction, outcome) = checker.blocks[number].block.entries[0].clone();
        for bit in (0..transaction.to_bytes().len() * 8).step_by(997) {
            let Some(changed) = flip(&transaction, bit) else { continue };
            checker.entries(number, |entries| entries[0].0 = changed.clone());
        }
        for other in other_outcomes(&outcome).into_iter().step_by(3) {
            checker.entries(number, |entries| entries[0].1 = other.clone());
        }
        checker.entries(number, |entries| entries.push(entries[0].clone()));
        checker.entries(number, Vec::clear);
        let elsewhere =
            checker.blocks[(number + 1) % checker.blocks.len()].block.entries[0].clone();
        checker.entries(number, |entries| entries[0] = elsewhere.clone());
        checker.entries(number, |entries| entries.push(elsewhere.clone()));
    }
}

fn votes(world: &World, checker: &mut Checker) {
    let (network, stranger) = (world.network.genesis.network(), SigningKey::from_seed(&[99; 32]));
    for number in 0..checker.blocks.len() {
        let digest = checker.blocks[number].block.header.digest();
        let mut cheat = |name: &str, change: &dyn Fn(&mut Certificate)| {
            checker.cheat(&[name], |blocks| change(blocks[number].certificate.as_mut().unwrap()));
        };
        for count in 0..3 {
            cheat("too-few-votes", &|votes| {
                votes.signers = Bits::first(count).unwrap();
                votes.signatures.truncate(count);
            });
        }
        cheat("foreign-signer", &|votes| votes.signers = Bits::from_iter([0, 1, 4]));
        cheat("unpaired-votes", &|votes| votes.signers = Bits::first(4).unwrap());
        cheat("bad-signature", &|votes| {
            let vote = votes.vote(network, &digest);
            votes.signatures[0] = stranger.sign_raw(&vote);
        });
        cheat("bad-signature", &|votes| votes.signatures.swap(0, 1));
        cheat("bad-signature", &|votes| votes.view += 1);
        let other = checker.blocks[(number + 1) % checker.blocks.len()].certificate.clone();
        checker.cheat(&["bad-signature"], |blocks| blocks[number].certificate = other);
    }
}

fn strangers(_: &World, checker: &mut Checker) {
    let elsewhere = chain(&World::new(5).network);
    for number in 0..checker.blocks.len() {
        checker.cheat(&["foreign-network"], |blocks| blocks[number] = elsewhere[number].clone());
        checker.cheat(&["foreign-network"], |blocks| {
            blocks.truncate(number);
            blocks.extend_from_slice(&elsewhere[number..]);
        });
    }
}

/// The same centres with another history from some height on: fewer than a quorum signs it.
fn forks(world: &World, checker: &mut Checker) {
    let mut fork = Network::new(4).with_patient(0, MINE, &key());
    while fork.tip().height < world.network.tip().height {
        let patient = PatientId::from_array(bytes(fork.tip().height));
        fork.submit(0, Body::Enrol(Enrol { patient, commitment: Hash::ZERO }));
    }
    // Both histories begin with the same two blocks.
    let forked = chain(&fork);
    for number in 2..forked.len() {
        for liars in 0..3 {
            checker.cheat(&["too-few-votes"], |blocks| {
                blocks.clone_from(&forked);
                for block in &mut blocks[2..] {
                    let votes = block.certificate.as_mut().unwrap();
                    votes.signers = Bits::first(liars).unwrap();
                    votes.signatures.truncate(liars);
                }
            });
        }
        // Even a history that a quorum signed twice is not hidden.
        checker.cheat(&["forked-history"], |blocks| blocks.push(forked[number].clone()));
        checker.cheat(&["forked-history"], |blocks| {
            blocks.insert(number + 1, forked[number].clone());
        });
        checker.cheat(&["broken-chain"], |blocks| {
            if number == 2 {
                blocks[2] = forked[2].clone();
                blocks[3].certificate = None;
            } else {
                blocks[number] = forked[number].clone();
            }
        });
    }
}

/// What a disk, a copy or a stop in the middle does to a file.
fn files(_: &World, checker: &mut Checker) {
    let whole = write_segment(checker.blocks[..STRETCH].to_vec()).unwrap();
    assert_eq!(segment_summary(&whole).unwrap().last, STRETCH as u64);
    let mut damaged = |bytes: &[u8], name: &str| {
        assert_eq!(read_segment(bytes).unwrap_err().cheat(), name);
        assert_eq!(segment_summary(bytes).unwrap_err().cheat(), name);
        checker.caught += 1;
    };
    for end in (0..whole.len()).step_by(41) {
        damaged(&whole[..end], "damaged-segment");
    }
    for at in (16..whole.len()).step_by(37) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        damaged(&changed, "damaged-segment");
    }
    damaged(&[whole.clone(), vec![0]].concat(), "damaged-segment");
    damaged(b"something else", "malformed");
}
