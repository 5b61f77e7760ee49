//! `aegle backup`: copies the ledger's blocks and the votes for them into a folder; the other
//! backups stand in [`crate::backup_lake`].
//!
//! What is in the folder already is checked by its hash and not copied again; what is missing,
//! cut or damaged is. Absent on purpose: keys, and the journal of what the node has voted for.

use crate::backup_lake;
use crate::secrets::Secrets;
use crate::segments::{self, GENESIS, Named, Unread};
use crate::serve::load_genesis;
use crate::settings::Settings;
use aegle_centre::{PeerAddress, PeerError, Peers, blocks_request};
use aegle_ledger::{Centre, CertifiedBlock, Genesis, Header, SegmentError, Summary, write_segment};
use aegle_model::{Canonical, CentreId, Hash, NetworkId, SigningKey};
use aegle_progress::{Meter, Unit};
use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use std::cell::RefCell;
use std::fs::{self, File, TryLockError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::runtime::Runtime;

/// Copy the ledger or the lake to a folder, or the lake's keys to a file
#[derive(Parser)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Add the lake's objects that are new, and replace the snapshot of its index; no keys to it
    Lake {
        /// The folder of the backup; it is made if it is not there
        dir: PathBuf,
        /// The configuration of the node, which may run or not
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Write the keys that open the lake and its backups to a file, under a pass phrase of its own
    Keys {
        /// The file; it must not be there yet
        file: PathBuf,
        /// The configuration of the node, which may run or not
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Lock it with this key file instead, which is made if it is not there
        #[arg(long, value_name = "FILE")]
        key_file: Option<PathBuf>,
    },
    /// Add what is new since the last time, and write damaged segments again
    Ledger {
        /// The folder of the backup; it is made if it is not there
        dir: PathBuf,
        /// The configuration of the node, which may run or not
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
}

/// A segment is full at so many bytes, or at so many blocks.
const SEGMENT_BYTES: usize = 8 * 1024 * 1024;
const SEGMENT_BLOCKS: usize = 10_000;
/// How much is asked for at once.
const ASK_BYTES: usize = 4 * 1024 * 1024;
/// How long the node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);
/// Held while a backup is written.
const LOCK: &str = "lock";

pub(crate) fn run(args: &Args) -> Result<()> {
    let (dir, config) = match &args.what {
        What::Ledger { dir, config } => (dir, config),
        What::Lake { dir, config } => {
            aegle_progress::can_be_stopped();
            return backup_lake::back_up_lake(dir, config);
        }
        What::Keys { file, config, key_file } => {
            return backup_lake::back_up_keys(file, config, key_file.as_deref());
        }
    };
    aegle_progress::can_be_stopped();
    let settings = Settings::load(config)?;
    let secrets = Secrets::load(&settings.secrets, settings.key_file.as_deref())?;
    let genesis = load_genesis(&settings.genesis)?;
    let backup = Backup::open(dir, &genesis)?;
    let source = Source::find(&settings, &secrets, genesis)?;
    // Only for the display: who cannot be asked for its height may give blocks all the same.
    let height = backup_lake::height(&settings, &secrets).ok();
    let done = backup.run(height, |from| source.blocks(from))?;
    println!(
        "ledger backed up: network {}, blocks 1 to {}, the last one {}; {} new in {} segments",
        backup.network, done.height, done.tip, done.blocks, done.segments
    );
    Ok(())
}

/// Where blocks come from.
enum Source {
    /// The node runs and is asked, as its operator may.
    Node { runtime: Runtime, peers: Peers, me: CentreId },
    /// It does not, and its folder is read.
    Folder { dir: PathBuf, genesis: Genesis, key: SigningKey },
}

impl Source {
    fn find(settings: &Settings, secrets: &Secrets, genesis: Genesis) -> Result<Self> {
        let key = secrets.node()?;
        if settings.is_stopped().is_ok() {
            return Ok(Self::Folder { dir: settings.data.join("ledger"), genesis, key });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let me = Centre::id_of(&key.public());
        let own = PeerAddress::new(me, &reachable(settings.peer.listen).to_string());
        let own = own.expect("a socket's address is a host and a port");
        let peers = {
            let _within = runtime.enter();
            Peers::new(&genesis.centres, &secrets.certificate()?, &[own])?
        };
        Ok(Self::Node { runtime, peers, me })
    }

    /// Some of the blocks from height `from` on; none when there are no more.
    fn blocks(&self, from: u64) -> Result<Vec<CertifiedBlock>> {
        match self {
            Self::Folder { dir, genesis, key } => {
                Ok(aegle_consensus::stored_blocks(dir, genesis, key, from, ASK_BYTES)?)
            }
            Self::Node { runtime, peers, me } => {
                let asked =
                    peers.call(*me, "/blocks", blocks_request(from, ASK_BYTES), ANSWER_WITHIN);
                let bytes = runtime.block_on(asked).map_err(explained)?;
                borsh::from_slice(&bytes).context("the node's answer holds no blocks")
            }
        }
    }
}

fn explained(error: PeerError) -> anyhow::Error {
    let what = "could not ask the node, which runs, for its blocks; is it of this version, and has \
                it these secrets?";
    anyhow::Error::new(error).context(what)
}

/// Where what listens at `address` is reached from this machine.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A folder that is written to by nobody else meanwhile.
struct Backup {
    dir: PathBuf,
    network: NetworkId,
    genesis: Hash,
    _lock: File,
}

/// Heights that the folder does not hold, and what they lie between.
#[derive(Debug, PartialEq)]
struct Gap {
    first: u64,
    /// None for the end of the chain.
    last: Option<u64>,
    /// The digest of the header before it.
    parent: Hash,
}

/// What the folder holds now.
struct Done {
    height: u64,
    tip: Hash,
    blocks: u64,
    segments: usize,
}

impl Backup {
    fn open(dir: &Path, genesis: &Genesis) -> Result<Self> {
        fs::create_dir_all(dir)
            .with_context(|| format!("could not create the folder `{}`", dir.display()))?;
        let lock = lock(dir)?;
        let (path, bytes) = (dir.join(GENESIS), genesis.to_bytes());
        if !path.exists() {
            segments::write(&path, &bytes)
                .with_context(|| format!("could not write `{}`", path.display()))?;
        }
        if fs::read(&path).with_context(|| format!("could not read `{}`", path.display()))? != bytes
        {
            bail!("the folder `{}` is the backup of another network; take another", dir.display());
        }
        let first = aegle_ledger::genesis_header(genesis);
        Ok(Self {
            dir: dir.to_owned(),
            network: first.network,
            genesis: first.digest(),
            _lock: lock,
        })
    }

    fn run(
        &self,
        height: Option<u64>,
        blocks: impl Fn(u64) -> Result<Vec<CertifiedBlock>>,
    ) -> Result<Done> {
        let (good, damaged) = self.look()?;
        let held: u64 = good.iter().map(|held| held.last.saturating_sub(held.first) + 1).sum();
        let total = height.map(|height| height.saturating_sub(held));
        let meter = RefCell::new(Meter::new("copying", Unit::Of("blocks"), total));
        let blocks = |from| {
            let blocks = blocks(from)?;
            meter.borrow_mut().advance(blocks.len() as u64);
            Ok(blocks)
        };
        let end = good.last().map_or((0, self.genesis), |last| (last.last, last.tip));
        let mut done = Done { height: end.0, tip: end.1, blocks: 0, segments: 0 };
        let mut written = Vec::new();
        for gap in gaps(self.genesis, &good)? {
            written.extend(self.fill(&gap, blocks, &mut done)?);
        }
        done.segments = written.len();
        for Named { first, path } in &damaged {
            // What begins in it stands in good segments now, unless the node has less than it had.
            if *first <= done.height && !written.contains(path) {
                fs::remove_file(path)
                    .with_context(|| format!("could not remove `{}`", path.display()))?;
            }
        }
        if done.height == 0 {
            bail!("the node has no block yet that votes cover; nothing was backed up");
        }
        Ok(done)
    }

    /// The segments that are good, and the files that are not.
    fn look(&self) -> Result<(Vec<Summary>, Vec<Named>)> {
        let (mut good, mut damaged) = (Vec::new(), Vec::new());
        for named in segments::list(&self.dir)? {
            match named.summary() {
                Ok(summary) if summary.network != self.network => {
                    bail!("`{}` is of another network; take another folder", named.path.display());
                }
                Ok(summary) if summary.first == named.first => good.push(summary),
                Ok(_) | Err(Unread::Segment { source: SegmentError::Damaged, .. }) => {
                    eprintln!("`{}` is damaged and is written again", named.path.display());
                    damaged.push(named);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((good, damaged))
    }

    /// Writes the segments of a gap, and says where.
    fn fill(
        &self,
        gap: &Gap,
        blocks: impl Fn(u64) -> Result<Vec<CertifiedBlock>>,
        done: &mut Done,
    ) -> Result<Vec<PathBuf>> {
        let (mut next, mut parent) = (gap.first, gap.parent);
        let (mut waiting, mut written) = (Vec::new(), Vec::new());
        loop {
            let mut more = blocks(next)?;
            if let Some(last) = gap.last {
                more.retain(|certified| certified.block.header.height <= last);
            }
            for CertifiedBlock { block, .. } in &more {
                parent = follow(&block.header, next, &parent)?;
                next += 1;
            }
            let ended = more.is_empty();
            waiting.extend(more);
            if !waiting.is_empty() && (ended || full(&waiting)) {
                let full = std::mem::take(&mut waiting);
                written.push(self.write(full, gap.last.is_none(), done)?);
            }
            if ended {
                break;
            }
        }
        match gap.last {
            Some(last) if next <= last => {
                bail!("the node has no block {next}; back up another node")
            }
            _ => Ok(written),
        }
    }

    fn write(&self, blocks: Vec<CertifiedBlock>, at_end: bool, done: &mut Done) -> Result<PathBuf> {
        let headers = blocks.first().zip(blocks.last());
        let (first, last) = headers.context("a segment holds blocks")?;
        let (first, last) = (first.block.header.height, last.block.header.clone());
        done.blocks += blocks.len() as u64;
        if at_end {
            (done.height, done.tip) = (last.height, last.digest());
        }
        let bytes = write_segment(blocks).context("a segment holds blocks")?;
        segments::put(&self.dir, first, &bytes)
    }
}

/// Keeps everybody else from writing the same backup.
fn lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK);
    let file =
        File::create(&path).with_context(|| format!("could not open `{}`", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another backup into `{}` is running; wait for its end", dir.display())
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("could not lock `{}`", path.display()))
        }
    }
}

/// What lies between good segments and after them. They must be one chain.
fn gaps(genesis: Hash, good: &[Summary]) -> Result<Vec<Gap>> {
    let (mut next, mut parent) = (1, genesis);
    let mut gaps = Vec::new();
    for summary in good {
        if summary.first < next {
            bail!("two segments hold block {}; take another folder", summary.first);
        }
        if summary.first > next {
            gaps.push(Gap { first: next, last: Some(summary.first - 1), parent });
        } else if summary.parent != parent {
            bail!("segment {next} does not follow the one before it; take another folder");
        }
        (next, parent) = (summary.last.saturating_add(1), summary.tip);
    }
    gaps.push(Gap { first: next, last: None, parent });
    Ok(gaps)
}

/// The digest of a header that is the next one.
fn follow(header: &Header, height: u64, parent: &Hash) -> Result<Hash> {
    if header.height != height || header.parent != *parent {
        bail!(
            "the node's block {height} does not follow block {} of the backup: one of the two is of \
             another history; keep both, and check them with `aegle verify chain`",
            height.saturating_sub(1)
        );
    }
    Ok(header.digest())
}

fn full(blocks: &[CertifiedBlock]) -> bool {
    let bytes = || borsh::object_length(blocks).is_ok_and(|bytes| bytes >= SEGMENT_BYTES);
    blocks.len() >= SEGMENT_BLOCKS || bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(first: u64, last: u64) -> Summary {
        let (network, digest) =
            (NetworkId::from_array([1; 16]), |height| Hash::sha256(&[&[height]]));
        let byte = |height: u64| u8::try_from(height).unwrap();
        Summary { network, first, last, parent: digest(byte(first - 1)), tip: digest(byte(last)) }
    }

    /// The heights of the gaps between segments of these heights.
    fn check(segments: &[(u64, u64)]) -> Result<Vec<(u64, Option<u64>)>, String> {
        let good: Vec<_> = segments.iter().map(|(first, last)| segment(*first, *last)).collect();
        let gaps = gaps(segment(1, 1).parent, &good).map_err(|error| error.to_string())?;
        Ok(gaps.iter().map(|gap| (gap.first, gap.last)).collect())
    }

    #[test]
    fn what_good_segments_do_not_hold_is_written() {
        assert_eq!(check(&[]), Ok(vec![(1, None)]));
        assert_eq!(check(&[(1, 5), (6, 9)]), Ok(vec![(10, None)]));
        assert_eq!(check(&[(3, 5), (8, 9)]), Ok(vec![(1, Some(2)), (6, Some(7)), (10, None)]));
    }

    #[test]
    fn segments_that_overlap_are_left_to_a_person() {
        let told = check(&[(1, 5), (5, 9)]).unwrap_err();
        assert!(told.contains("two segments hold block 5"), "{told}");
    }

    #[test]
    fn segments_of_two_histories_are_left_to_a_person() {
        let mut good = [segment(1, 5), segment(6, 9)];
        good[1].parent = Hash::ZERO;
        let told = gaps(segment(1, 1).parent, &good).unwrap_err().to_string();
        assert!(told.contains("segment 6 does not follow"), "{told}");
    }

    #[test]
    fn what_listens_everywhere_is_reached_here() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
        assert_eq!(reached("[::]:1"), "[::1]:1");
        assert_eq!(reached("192.0.2.1:1"), "192.0.2.1:1");
    }
}
