//! What all requests of one server share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use s3s::{S3Result, s3_error};

use crate::{bucket::Bucket, clock::Clock, faults::Faults, recording::Recorder};

/// How the server behaves; fixed when it is made.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) ignore_conditions: bool,
    /// Whether the buckets have Object Lock. What is locked is only recorded: nothing here deletes.
    pub(crate) object_lock: bool,
    pub(crate) ignore_checksums: bool,
    pub(crate) minimum_part_size_bytes: usize,
}

/// Survives a restart of the server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) recorder: Arc<Recorder>,
    latency: Mutex<Duration>,
    buckets: Mutex<BTreeMap<String, Bucket>>,
}

impl Shared {
    pub(crate) fn new(options: Options, buckets: impl IntoIterator<Item = String>) -> Self {
        let clock = Clock::default();
        let now = clock.system_time();
        let buckets = buckets.into_iter().map(|name| (name, Bucket::new(now))).collect();
        Self {
            options,
            clock,
            faults: Faults::default(),
            recorder: Arc::default(),
            latency: Mutex::default(),
            buckets: Mutex::new(buckets),
        }
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    pub(crate) fn latency(&self) -> Duration {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All buckets, locked. Nothing slow may be done under this lock.
    pub(crate) fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with one bucket, alone.
    ///
    /// # Errors
    /// NoSuchBucket, and what `action` returns.
    pub(crate) fn with_bucket<T>(
        &self,
        name: &str,
        action: impl FnOnce(&mut Bucket) -> S3Result<T>,
    ) -> S3Result<T> {
        match self.buckets().get_mut(name) {
            Some(bucket) => action(bucket),
            None => Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")),
        }
    }
}
