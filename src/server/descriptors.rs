//! Divides the process's limit of open files.
//!
//! Connections of callers get the rest after a reserve for the disk, S3 and downloads, so that accepted exports can
//! finish regardless of the number of open connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The lowest limit with which a server starts.
const MIN_LIMIT: u64 = 64;
/// Open files without any caller: logs, lock, listeners, signals, and those of the runtimes.
const RESERVED: u64 = 20;

/// The number of open files for each purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorPlan {
    /// The limit of the process.
    pub(super) limit: u64,
    /// Connections of callers.
    pub(super) connections: u32,
    /// Connections of callers that wait for a permit.
    pub(super) waiting: u32,
    /// Concurrent requests to S3.
    pub(super) s3_requests: u32,
    /// Concurrent downloads: each has a file or a connection to S3 open.
    pub(super) downloads: u32,
}

/// The limit of open files is too low.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of open files is {limit}, and at least {MIN_LIMIT} are needed: raise the limit (ulimit -n, or \
     LimitNOFILE of systemd)"
)]
pub struct TooFewDescriptors {
    limit: u64,
}

impl DescriptorPlan {
    /// Raises the process's limit as far as the system allows, and divides it.
    pub(super) fn of_process() -> Result<Self, TooFewDescriptors> {
        Self::new(raise_limit())
    }

    /// Divides a limit.
    fn new(limit: u64) -> Result<Self, TooFewDescriptors> {
        if limit < MIN_LIMIT {
            return Err(TooFewDescriptors { limit });
        }
        let eighth = limit / 8;
        let s3_requests = eighth.clamp(6, 256);
        // For the local store, the journal and uploads on disk: their pools have about fifty threads.
        let disk = eighth.clamp(12, 256);
        let downloads = eighth.clamp(4, 1024);
        let waiting = (limit / 16).clamp(6, 64);
        // The limit is at least `MIN_LIMIT`, and each share is small.
        let connections =
            limit.saturating_sub(RESERVED + s3_requests + disk + downloads + waiting).max(1);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            limit,
            connections: small(connections),
            waiting: small(waiting),
            s3_requests: small(s3_requests),
            downloads: small(downloads),
        })
    }

    /// The setting's number of connections, clamped to the available files. Logs a warning if it is clamped.
    pub(super) fn clamp_connections(&self, max_connections: u32) -> u32 {
        self.clamp("MAX_CONNECTIONS", max_connections, self.connections)
    }

    /// The setting's number of downloads, clamped to the available files. Logs a warning if it is clamped.
    pub(super) fn clamp_downloads(&self, max_downloads: u32) -> u32 {
        self.clamp("MAX_CONCURRENT_DOWNLOADS", max_downloads, self.downloads)
    }

    fn clamp(&self, setting: &'static str, value: u32, max: u32) -> u32 {
        if value > max {
            tracing::warn!(
                value,
                clamped_to = max,
                open_files_limit = self.limit,
                "{setting} exceeds the limit of open files: raise that limit (ulimit -n, or LimitNOFILE of systemd) \
                 or lower {setting}"
            );
        }
        value.min(max)
    }
}

/// Raises this process's limit to its maximum, and returns it.
fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    // Fails on systems that report a higher maximum than they allow.
    if current != maximum && setrlimit(Resource::Nofile, raised).is_ok() {
        return maximum.unwrap_or(u64::MAX);
    }
    current.unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn default_settings_fit_into_limit_1024() {
        let plan = DescriptorPlan::new(1024).unwrap();
        assert_eq!(plan.clamp_connections(512), 512);
        assert_eq!(plan.clamp_downloads(64), 64);
        assert_eq!(DescriptorPlan::new(u64::MAX).unwrap().clamp_connections(100_000), 100_000);
        assert_eq!(DescriptorPlan::new(20_000).unwrap().s3_requests, 256);
    }

    #[test]
    fn shares_never_exceed_the_limit() {
        for limit in (MIN_LIMIT..5_000).chain([65_536, 1 << 20]) {
            let plan = DescriptorPlan::new(limit).unwrap();
            let shares = plan.connections + plan.waiting + plan.s3_requests + plan.downloads;
            assert!(plan.connections >= 1 && u64::from(shares) + RESERVED < limit, "{plan:?}");
            assert_eq!(plan.clamp_connections(u32::MAX), plan.connections);
        }
        assert!(DescriptorPlan::new(64).unwrap().connections >= 8);
    }

    #[test]
    fn error_for_low_limit_names_the_fix() {
        let message = DescriptorPlan::new(63).unwrap_err().to_string();
        for part in ["63", "64", "ulimit -n", "LimitNOFILE"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
