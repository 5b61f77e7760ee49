//! The client: many transactions at once, or so many a second.

use super::NODES;
use super::nodes::Nodes;
use super::protocol::{Question, Reply};
use super::world::{Outgoing, World};
use anyhow::{Result, bail};
use futures::stream::{self, FuturesUnordered, StreamExt, TryStreamExt};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many blocks a transaction may wait.
const LIFETIME: u64 = 60_000;
/// Throughput is looked at in stretches of this length.
const STRETCH: Duration = Duration::from_millis(250);
/// It has recovered when so many stretches in a row are good.
const GOOD_STRETCHES: usize = 4;
/// Good is this share of what it was.
const GOOD: f64 = 0.8;

/// Submits the world's transactions.
pub(super) struct Load<'a> {
    pub(super) world: &'a World,
    in_flight: usize,
    next: AtomicU64,
}

impl<'a> Load<'a> {
    pub(super) fn new(world: &'a World, in_flight: usize) -> Self {
        Self { world, in_flight, next: AtomicU64::new(0) }
    }

    /// New disclosures, signed on all processors.
    pub(super) async fn disclosures(&self, nodes: &Nodes, count: u64) -> Result<Vec<Outgoing>> {
        let expires = nodes.height(0).await? + LIFETIME;
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let middle = first + count / 2;
        let sign = |numbers: std::ops::Range<u64>| -> Vec<Outgoing> {
            numbers.map(|number| self.world.disclosure(number, expires)).collect()
        };
        let halves = thread::scope(|scope| {
            let half = scope.spawn(|| sign(middle..first + count));
            [sign(first..middle), half.join().expect("signing does not fail")]
        });
        Ok(halves.into_iter().flatten().collect())
    }

    /// Brings all to their nodes as fast as these take them.
    pub(super) async fn flood(&self, nodes: &Nodes, all: Vec<Outgoing>) -> Result<()> {
        let submitted = stream::iter(all).map(|one| submit(nodes, one.node, one));
        submitted.buffer_unordered(self.in_flight).try_collect().await
    }

    /// Submits one at each `interval`; how many milliseconds each took, from when it was due.
    pub(super) async fn steadily(
        &self,
        nodes: &Nodes,
        all: Vec<Outgoing>,
        interval: Duration,
    ) -> Result<Vec<f64>> {
        let start = tokio::time::Instant::now();
        let submitted = (0..).zip(all).map(|(number, one)| async move {
            let due = start + interval * number;
            tokio::time::sleep_until(due).await;
            let node = if nodes.is_up(one.node) { one.node } else { (one.node + 1) % NODES };
            submit(nodes, node, one).await?;
            anyhow::Ok(due.elapsed().as_secs_f64() * 1e3)
        });
        submitted.collect::<FuturesUnordered<_>>().try_collect().await
    }

    /// Kills `victim` in the middle of a flood at the others: after how many seconds throughput was
    /// good again; none when the flood ended first.
    pub(super) async fn kill_one(
        &self,
        nodes: &mut Nodes,
        victim: usize,
        all: Vec<Outgoing>,
    ) -> Result<Option<f64>> {
        let (total, done) = (all.len(), AtomicUsize::new(0));
        let (counted, alive) = (&done, &*nodes);
        let flood = stream::iter(all).map(|one| async move {
            let node = if one.node == victim { (victim + 1) % NODES } else { one.node };
            submit(alive, node, one).await?;
            counted.fetch_add(1, Ordering::Relaxed);
            anyhow::Ok(Instant::now())
        });
        let flood = flood.buffer_unordered(self.in_flight).try_collect::<Vec<_>>();
        let kill = async {
            while done.load(Ordering::Relaxed) < total / 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let killed = Instant::now();
            alive.kill(victim).await.map(|()| killed)
        };
        let (finished, killed) = tokio::try_join!(flood, kill)?;
        nodes.forget(victim).await;
        Ok(recovered(&finished, killed))
    }
}

/// When after `killed` the stretches were good again.
fn recovered(finished: &[Instant], killed: Instant) -> Option<f64> {
    let before = 12;
    let span = STRETCH * before;
    let usual = finished.iter().filter(|at| **at < killed && **at + span >= killed).count();
    let needed = GOOD * f64::from(u32::try_from(usual).ok()?) / f64::from(before);
    let last = finished.iter().max()?.checked_duration_since(killed)?;
    let mut stretches = vec![0_u32; usize::try_from(last.as_millis() / STRETCH.as_millis()).ok()?];
    for at in finished {
        let after = at.checked_duration_since(killed).map(|after| after.as_millis());
        let number = after.and_then(|ms| usize::try_from(ms / STRETCH.as_millis()).ok());
        if let Some(stretch) = number.and_then(|number| stretches.get_mut(number)) {
            *stretch += 1;
        }
    }
    let good = |stretch: &u32| f64::from(*stretch) >= needed;
    let first = stretches.windows(GOOD_STRETCHES).position(|window| window.iter().all(good))?;
    Some(f64::from(u32::try_from(first).ok()?) * STRETCH.as_secs_f64())
}

async fn submit(nodes: &Nodes, node: usize, one: Outgoing) -> Result<()> {
    match nodes.ask(node, Question::Submit(Box::new(one.transaction))).await? {
        Reply::Final => Ok(()),
        other => bail!("node {node} did not take a transaction: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instants of so many transactions in each stretch, from three seconds before the kill.
    fn finished(killed: Instant, stretches: &[u32]) -> Vec<Instant> {
        let begin = killed.checked_sub(STRETCH * 12).unwrap();
        let within = |(number, count): (u32, &u32)| {
            let start = begin + STRETCH * number;
            let step = STRETCH / (count + 1);
            (0..*count).map(move |one| start + step * one).collect::<Vec<_>>()
        };
        (0..).zip(stretches).flat_map(within).collect()
    }

    #[test]
    fn recovery_is_when_throughput_stays_at_four_fifths() {
        let killed = Instant::now() + Duration::from_mins(1);
        let before = [100; 12];
        let with = |after: &[u32]| recovered(&finished(killed, &[&before, after].concat()), killed);
        assert_eq!(with(&[95, 90, 85, 99, 99]), Some(0.0));
        assert_eq!(with(&[0, 90, 10, 85, 99, 81, 80, 100]), Some(0.75));
        assert_eq!(with(&[0, 10, 10, 50, 50, 70, 70]), None);
    }
}
