//! One validator's computer: the simulated runtime with a clock and a disk of its own.
//!
//! It stops as in production: a panic in any task of the engine is the end of the whole engine.

use commonware_runtime::{
    Blob, BlobVersion, Clock, Error, Handle, IoBufs, IoBufsMut, Metrics, Name, ReadOptions,
    Spawner, Storage, Supervisor, WriteOptions, deterministic,
    signal::Signal,
    telemetry::metrics::{Metric, Registered},
};
use commonware_utils::SystemTimeExt as _;
use futures::FutureExt as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_core::{TryCryptoRng, TryRng};
use std::{
    any::Any,
    convert::Infallible,
    io,
    ops::RangeInclusive,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    /// Nothing.
    Sound,
    /// It takes no more bytes.
    Full,
    /// One flush in so many fails.
    BadFlushes(u32),
    /// One write in so many stores only its beginning and fails.
    TornWrites(u32),
}

/// What the tasks of one machine share.
pub(super) struct Hardware {
    /// How many milliseconds the clock is ahead of the true time; negative: behind.
    ahead: i64,
    disk: Mutex<(Disk, ChaCha8Rng)>,
    panic: Mutex<Option<String>>,
}

impl Hardware {
    pub(super) fn new(seed: u64, ahead: i64) -> Arc<Self> {
        let disk = Mutex::new((Disk::Sound, ChaCha8Rng::seed_from_u64(seed)));
        Arc::new(Self { ahead, disk, panic: Mutex::default() })
    }

    pub(super) fn set_disk(&self, disk: Disk) {
        self.disk.lock().unwrap().0 = disk;
    }

    /// The first panic since the last question.
    pub(super) fn panicked(&self) -> Option<String> {
        self.panic.lock().unwrap().take()
    }

    /// Overlooks what went wrong on a machine that has panicked and is about to be stopped.
    pub(super) fn excuse(&self, wrong: String) -> Result<(), String> {
        if self.panic.lock().unwrap().is_some() { Ok(()) } else { Err(wrong) }
    }

    fn full(&self) -> bool {
        self.disk.lock().unwrap().0 == Disk::Full
    }

    /// Whether a flush fails now.
    fn flush(&self) -> Result<(), Error> {
        let (disk, rng) = &mut *self.disk.lock().unwrap();
        match disk {
            Disk::BadFlushes(one_in) if rng.random_ratio(1, *one_in) => Err(fault("flush")),
            _ => Ok(()),
        }
    }

    /// How many of `bytes` a write stores before it fails, if it fails.
    fn torn(&self, bytes: usize) -> Option<usize> {
        let (disk, rng) = &mut *self.disk.lock().unwrap();
        match disk {
            Disk::Full => Some(0),
            Disk::TornWrites(one_in) if rng.random_ratio(1, *one_in) => {
                Some(rng.random_range(0..=bytes))
            }
            _ => None,
        }
    }

    fn local(&self, time: SystemTime) -> SystemTime {
        shift(time, self.ahead)
    }

    fn true_time(&self, time: SystemTime) -> SystemTime {
        shift(time, -self.ahead)
    }
}

/// The end of time stays where it is: who waits for nothing sleeps until then.
pub(super) fn shift(time: SystemTime, milliseconds: i64) -> SystemTime {
    let by = Duration::from_millis(milliseconds.unsigned_abs());
    if milliseconds < 0 { time - by } else { time.saturating_add_ext(by) }
}

fn fault(what: &str) -> Error {
    io::Error::new(io::ErrorKind::StorageFull, format!("simulated: no {what}")).into()
}

/// A runtime for one validator.
pub(super) struct Machine {
    context: deterministic::Context,
    hardware: Arc<Hardware>,
}

impl Machine {
    pub(super) fn new(context: deterministic::Context, hardware: Arc<Hardware>) -> Self {
        Self { context, hardware }
    }
}

impl Supervisor for Machine {
    fn name(&self) -> Name {
        self.context.name()
    }

    fn child(&self, label: &'static str) -> Self {
        Self { context: self.context.child(label), hardware: self.hardware.clone() }
    }

    fn with_attribute(self, key: &'static str, value: impl std::fmt::Display) -> Self {
        Self { context: self.context.with_attribute(key, value), hardware: self.hardware }
    }
}

impl Spawner for Machine {
    fn shared(self, blocking: bool) -> Self {
        Self { context: self.context.shared(blocking), hardware: self.hardware }
    }

    fn dedicated(self) -> Self {
        Self { context: self.context.dedicated(), hardware: self.hardware }
    }

    fn spawn<F, Fut, T>(self, f: F) -> Handle<T>
    where
        F: FnOnce(Self) -> Fut + Send + 'static,
        Fut: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let Self { context, hardware } = self;
        context.spawn(move |context| {
            let shared = hardware.clone();
            let task = AssertUnwindSafe(f(Self { context, hardware })).catch_unwind();
            async move {
                match task.await {
                    Ok(value) => value,
                    Err(panic) => {
                        shared.panic.lock().unwrap().get_or_insert_with(|| message(&*panic));
                        // Nothing more comes from here; the whole machine is about to be stopped.
                        std::future::pending().await
                    }
                }
            }
        })
    }

    async fn stop(self, value: i32, timeout: Option<Duration>) -> Result<(), Error> {
        self.context.stop(value, timeout).await
    }

    fn stopped(&self) -> Signal {
        self.context.stopped()
    }
}

impl Metrics for Machine {
    fn register<N: Into<String>, H: Into<String>, M: Metric>(
        &self,
        name: N,
        help: H,
        metric: M,
    ) -> Registered<M> {
        self.context.register(name, help, metric)
    }

    fn encode(&self) -> String {
        self.context.encode()
    }
}

impl governor::clock::Clock for Machine {
    type Instant = SystemTime;

    fn now(&self) -> SystemTime {
        self.current()
    }
}

impl governor::clock::ReasonablyRealtime for Machine {}

impl Clock for Machine {
    fn current(&self) -> SystemTime {
        self.hardware.local(self.context.current())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.context.sleep(duration)
    }

    fn sleep_until(
        &self,
        deadline: SystemTime,
    ) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.context.sleep_until(self.hardware.true_time(deadline))
    }
}

impl TryRng for Machine {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.context.try_next_u32()
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.context.try_next_u64()
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.context.try_fill_bytes(bytes)
    }
}

impl TryCryptoRng for Machine {}

impl Storage for Machine {
    type Blob = File;

    async fn open_versioned(
        &self,
        partition: &str,
        name: &[u8],
        versions: RangeInclusive<BlobVersion>,
    ) -> Result<(File, u64, BlobVersion), Error> {
        let (blob, size, version) = self.context.open_versioned(partition, name, versions).await?;
        Ok((File { blob, hardware: self.hardware.clone() }, size, version))
    }

    async fn remove(&self, partition: &str, name: Option<&[u8]>) -> Result<(), Error> {
        self.context.remove(partition, name).await
    }

    async fn scan(&self, partition: &str) -> Result<Vec<Vec<u8>>, Error> {
        self.context.scan(partition).await
    }
}

/// A file on a machine's disk.
pub(super) struct File {
    blob: <deterministic::Context as Storage>::Blob,
    hardware: Arc<Hardware>,
}

impl Blob for File {
    async fn read_at_buf(
        &self,
        offset: u64,
        len: usize,
        bufs: impl Into<IoBufsMut> + Send,
        options: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        self.blob.read_at_buf(offset, len, bufs, options).await
    }

    async fn read_at(
        &self,
        offset: u64,
        len: usize,
        options: ReadOptions,
    ) -> Result<IoBufsMut, Error> {
        self.blob.read_at(offset, len, options).await
    }

    async fn write_at(
        &self,
        offset: u64,
        bufs: impl Into<IoBufs> + Send,
        options: WriteOptions,
    ) -> Result<(), Error> {
        let bufs = bufs.into();
        let Some(stored) = self.hardware.torn(bufs.len()) else {
            if options.contains(WriteOptions::SYNC) {
                self.hardware.flush()?;
            }
            return self.blob.write_at(offset, bufs, options).await;
        };
        let beginning = bufs.coalesce().as_ref()[..stored].to_vec();
        self.blob.write_at(offset, beginning, options).await?;
        Err(fault("room for a write"))
    }

    async fn resize(&self, len: u64) -> Result<(), Error> {
        if self.hardware.full() {
            Err(fault("room to resize"))
        } else {
            self.blob.resize(len).await
        }
    }

    async fn sync(&self) -> Result<(), Error> {
        self.hardware.flush()?;
        self.blob.sync().await
    }

    async fn start_sync(&self) -> Handle<()> {
        match self.hardware.flush() {
            Ok(()) => self.blob.start_sync().await,
            Err(error) => Handle::ready(Err(error)),
        }
    }
}

/// What a panic said.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}

#[test]
fn a_clock_that_is_ahead_or_behind_leaves_the_end_of_time_alone() {
    let end = SystemTime::limit();
    assert_eq!(shift(end, 165), end);
    assert_eq!(shift(shift(SystemTime::UNIX_EPOCH, 165), -165), SystemTime::UNIX_EPOCH);
}
