//! A cache of credentials that is reset when their sources change, and when this machine's clock is set.
//!
//! The SDK renews credentials when they expire by this machine's clock. After the clock is set back by a day, it
//! would use credentials that S3 refuses for a day.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use aws_sdk_s3::config::{ConfigBag, IdentityCache, RuntimeComponents};
use aws_smithy_runtime_api::client::identity::{
    IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver,
};

use super::credentials::ReloadingCredentials;

/// The timeout for loading credentials from the default chain. The SDK tries the metadata service of EC2 four
/// times for a second each.
pub(super) const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(6);

/// Ignores smaller differences, which come from NTP corrections and from delays on a busy machine.
const SMALLEST_JUMP: Duration = Duration::from_secs(60);

/// The SDK's cache, replaced by an empty one after each change of the sources and each jump of the clock.
#[derive(Debug)]
pub(super) struct Identities {
    current: Mutex<Current>,
    reloading: Option<Arc<ReloadingCredentials>>,
}

#[derive(Debug)]
struct Current {
    cache: SharedIdentityCache,
    clocks: Option<Clocks>,
    generation: u64,
}

/// A reading of the wall clock and of a monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    wall: SystemTime,
    monotonic: Instant,
}

impl Clocks {
    fn jumped_before(self, later: Self) -> bool {
        let passed = later.monotonic.saturating_duration_since(self.monotonic);
        let expected = self.wall.checked_add(passed).unwrap_or(later.wall);
        let difference = later.wall.duration_since(expected);
        difference.unwrap_or_else(|negative| negative.duration()) >= SMALLEST_JUMP
    }
}

impl Identities {
    pub(super) fn new() -> Self {
        let current = Current { cache: new_cache(), clocks: None, generation: 0 };
        Self { current: Mutex::new(current), reloading: None }
    }

    pub(super) fn reloading(credentials: Arc<ReloadingCredentials>) -> Self {
        Self { reloading: Some(credentials), ..Self::new() }
    }

    fn cache_at(&self, now: Clocks) -> SharedIdentityCache {
        // A panic never leaves the state inconsistent.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.clocks.is_some_and(|previous| previous.jumped_before(now)) {
            tracing::warn!("this machine's clock was set: reloading the AWS credentials");
            current.cache = new_cache();
        }
        let generation = self.reloading.as_ref().map_or(0, |reloading| reloading.generation());
        if current.generation != generation {
            (current.cache, current.generation) = (new_cache(), generation);
        }
        // Compared with the previous reading, so that NTP corrections do not add up to a jump.
        current.clocks = Some(now);
        current.cache.clone()
    }
}

fn new_cache() -> SharedIdentityCache {
    IdentityCache::lazy().load_timeout(CREDENTIALS_TIMEOUT).build()
}

impl ResolveCachedIdentity for Identities {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        components: &'a RuntimeComponents,
        config: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let wall = components.time_source().map_or_else(SystemTime::now, |source| source.now());
        IdentityFuture::new(async move {
            if let Some(reloading) = &self.reloading {
                reloading.check().await;
            }
            let cache = self.cache_at(Clocks { wall, monotonic: Instant::now() });
            cache.resolve_cached_identity(resolver, components, config).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_jump_is_detected_and_correction_is_not() {
        let start = Clocks { wall: SystemTime::now(), monotonic: Instant::now() };
        let (minute, day) = (Duration::from_secs(60), Duration::from_secs(86_400));
        let after = |passed, wall| Clocks { wall, monotonic: start.monotonic + passed };
        assert!(!start.jumped_before(after(day, start.wall + day)));
        assert!(!start.jumped_before(after(day, start.wall + day - minute / 2)));
        assert!(!start.jumped_before(after(day, start.wall + day + minute / 2)));
        assert!(start.jumped_before(after(minute, start.wall + minute - day)));
        assert!(start.jumped_before(after(minute, start.wall + minute + day)));
        assert!(start.jumped_before(after(minute, start.wall)));
    }
}
