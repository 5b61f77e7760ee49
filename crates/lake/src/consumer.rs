//! Finished parts that wait to be claimed: once each, for a bounded time.
//!
//! Invariants: a part leaves the consumer zone at most once; who comes a second time, too late or
//! for nothing is told so; a part that nobody claims is removed, and its request stays named in the
//! zone until that was told on. What a crash leaves is removed when the lake is opened again. Which requests are done is remembered for a while and in this process
//! only: a centre that must know for longer keeps it itself.

use crate::database::hold;
use crate::passage::{Passage, Stage};
use crate::read::{Delivery, ReadError};
use crate::zones::{Stay, ZoneError};
use aegle_model::{Hash, RequestId, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

/// How long a finished part waits, in milliseconds: as long as its receipt is fresh.
pub const CLAIM_MS: u64 = 120_000;

/// How long it is remembered that a request is done, in milliseconds.
const REMEMBER_MS: u64 = 600_000;

/// How many parts wait at most, and how many requests are remembered.
const WAITING_MAX: usize = 4096;
const REMEMBERED_MAX: usize = 65_536;

/// A part that cannot be claimed, or not be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// No part was made for this request.
    #[error("no part waits for this request")]
    Unknown,
    /// It was claimed before.
    #[error("the part of this request was claimed before; ask again with a new request")]
    Claimed,
    /// It was not claimed in time.
    #[error("the part of this request was not claimed in time; ask again with a new request")]
    Expired,
    /// It waits already.
    #[error("a part waits for this request already; claim it")]
    Waiting,
    /// Too many parts wait.
    #[error("{WAITING_MAX} parts wait to be claimed; try again later")]
    Full,
}

/// A finished part in its place.
pub(crate) struct Finished {
    pub(crate) stay: Stay,
    pub(crate) passage: Passage,
    pub(crate) content: Hash,
    /// How long it is, sealed.
    pub(crate) bytes: usize,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
}

/// How a request ended.
#[derive(Clone, Copy)]
enum Done {
    Claimed,
    Expired,
}

#[derive(Default)]
pub(crate) struct Consumer(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    waiting: BTreeMap<RequestId, (Timestamp, Finished)>,
    done: BTreeMap<RequestId, Done>,
    /// When each request was done, in that order.
    order: VecDeque<(Timestamp, RequestId)>,
    /// Whose parts were removed since this was last asked.
    expired: Vec<RequestId>,
}

impl Consumer {
    /// Whether a part may be made for a request now.
    pub(crate) fn admit(&self, request: RequestId, now: Timestamp) -> Result<(), ClaimError> {
        let mut inside = hold(&self.0);
        inside.sweep(now);
        inside.admit(request)
    }

    /// Lets a finished part wait.
    pub(crate) fn put(
        &self,
        request: RequestId,
        finished: Finished,
        now: Timestamp,
    ) -> Result<(), ClaimError> {
        let mut inside = hold(&self.0);
        inside.admit(request)?;
        let until = Timestamp(now.0.saturating_add(CLAIM_MS));
        inside.waiting.insert(request, (until, finished));
        Ok(())
    }

    /// Hands a part over and empties its places.
    pub(crate) fn claim(&self, request: RequestId, now: Timestamp) -> Result<Delivery, ReadError> {
        let Finished { stay, mut passage, content, bytes, rows, columns } =
            hold(&self.0).take(request, now)?;
        let sealed = stay.finished(bytes)?;
        if Hash::sha256(&[&sealed]) != content {
            return Err(ZoneError::Altered.into());
        }
        passage.enter(Stage::Delivered)?;
        stay.clean()?;
        passage.enter(Stage::Cleaned)?;
        let steps = passage.steps().to_vec();
        Ok(Delivery { sealed, content, rows, columns, steps })
    }

    /// Removes what was not claimed in time; yields the requests of all that was removed since the
    /// last time, also by others who came too late.
    pub(crate) fn sweep(&self, now: Timestamp) -> Vec<RequestId> {
        let mut inside = hold(&self.0);
        inside.sweep(now);
        std::mem::take(&mut inside.expired)
    }
}

impl Inside {
    fn admit(&self, request: RequestId) -> Result<(), ClaimError> {
        match self.done.get(&request) {
            Some(Done::Claimed) => Err(ClaimError::Claimed),
            Some(Done::Expired) => Err(ClaimError::Expired),
            None if self.waiting.contains_key(&request) => Err(ClaimError::Waiting),
            None if self.waiting.len() >= WAITING_MAX => Err(ClaimError::Full),
            None => Ok(()),
        }
    }

    fn take(&mut self, request: RequestId, now: Timestamp) -> Result<Finished, ClaimError> {
        self.sweep(now);
        let Some((_, finished)) = self.waiting.remove(&request) else {
            return Err(self.admit(request).err().unwrap_or(ClaimError::Unknown));
        };
        self.remember(request, Done::Claimed, now);
        Ok(finished)
    }

    fn sweep(&mut self, now: Timestamp) {
        while let Some((at, request)) = self.order.front().copied()
            && (at.0.saturating_add(REMEMBER_MS) <= now.0 || self.order.len() > REMEMBERED_MAX)
        {
            self.done.remove(&request);
            self.order.pop_front();
        }
        let late = |(until, _): &(Timestamp, Finished)| *until <= now;
        let late: Vec<_> =
            self.waiting.iter().filter(|(_, part)| late(part)).map(|(id, _)| *id).collect();
        for request in late {
            // Its places are emptied as it is dropped.
            let late = self.waiting.remove(&request);
            if let Some(Err(error)) = late.map(|(_, part)| part.stay.remember()) {
                tracing::warn!(%error, "A crash now would hide that a part was not claimed in time");
            }
            self.remember(request, Done::Expired, now);
            self.expired.push(request);
        }
    }

    fn remember(&mut self, request: RequestId, done: Done, now: Timestamp) {
        self.done.insert(request, done);
        self.order.push_back((now, request));
    }
}
