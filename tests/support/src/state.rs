//! State shared by all requests of a server.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use s3s::{S3Result, s3_error};

use crate::{
    bucket::Bucket, clock::Clock, faults::Faults, recording::Recorder,
    s3::bad_listings::ListingFaults,
};

/// The server's options, fixed when it is created.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) ignore_conditions: bool,
    /// Whether the buckets have Object Lock. Locks are only recorded, because nothing here deletes.
    pub(crate) object_lock: bool,
    pub(crate) ignore_checksums: bool,
    pub(crate) minimum_part_size_bytes: usize,
}

/// The state that survives a restart of the server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) clock: Clock,
    pub(crate) faults: Faults,
    pub(crate) recorder: Arc<Recorder>,
    latency: Mutex<Duration>,
    listing_faults: Mutex<ListingFaults>,
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
            listing_faults: Mutex::default(),
            buckets: Mutex::new(buckets),
        }
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner) = latency;
    }

    pub(crate) fn latency(&self) -> Duration {
        *self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_listing_faults(&self, faults: ListingFaults) {
        *self.listing_faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    pub(crate) fn listing_faults(&self) -> ListingFaults {
        *self.listing_faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks all buckets. No slow work under this lock.
    pub(crate) fn buckets(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `action` with a locked bucket.
    ///
    /// # Errors
    /// NoSuchBucket, and the errors of `action`.
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
