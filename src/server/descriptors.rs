//! The process's limit of open files, and how it is shared out.
//!
//! Callers' connections get what is left after a reserve for the disk, S3 and downloads, so that accepted exports can
//! be finished however many connections are open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Fewer files than this are too few to serve at all.
const LEAST: u64 = 64;
/// What the process has open without any caller: its logs, lock, listeners, signals, and the runtimes' own.
const BASE: u64 = 20;

/// How many open files there may be of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DescriptorPlan {
    /// The limit of the process.
    pub(super) limit: u64,
    /// Connections of callers.
    pub(super) connections: u32,
    /// Connections of callers that wait for a place.
    pub(super) waiting: u32,
    /// Requests to S3 at once.
    pub(super) s3_requests: u32,
    /// Downloads at once: each has a file or a connection to S3 open.
    pub(super) downloads: u32,
}

/// The process may have too few files open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may have {limit} files open, and needs {LEAST} at least: raise the limit (ulimit -n, or LimitNOFILE \
     of systemd)"
)]
pub struct TooFewDescriptors {
    limit: u64,
}

impl DescriptorPlan {
    /// Raises the process's limit as far as the system allows, and shares it out.
    pub(super) fn of_process() -> Result<Self, TooFewDescriptors> {
        Self::new(raised_limit())
    }

    /// Shares out a limit.
    fn new(limit: u64) -> Result<Self, TooFewDescriptors> {
        if limit < LEAST {
            return Err(TooFewDescriptors { limit });
        }
        let eighth = limit / 8;
        let s3_requests = eighth.clamp(6, 256);
        // Writes and reads of the local store, the journal, and uploads on disk: their pools have some fifty threads.
        let disk = eighth.clamp(12, 256);
        let downloads = eighth.clamp(4, 1024);
        let waiting = (limit / 16).clamp(6, 64);
        // At least `LEAST`, of which each share is small.
        let connections =
            limit.saturating_sub(BASE + s3_requests + disk + downloads + waiting).max(1);
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Self {
            limit,
            connections: small(connections),
            waiting: small(waiting),
            s3_requests: small(s3_requests),
            downloads: small(downloads),
        })
    }

    /// As many connections as the setting says, if there are files for them. Warns if there are not.
    pub(super) fn clamp_connections(&self, max_connections: u32) -> u32 {
        self.clamp("MAX_CONNECTIONS", max_connections, self.connections)
    }

    /// As many downloads as the setting says, if there are files for them. Warns if there are not.
    pub(super) fn clamp_downloads(&self, max_downloads: u32) -> u32 {
        self.clamp("MAX_CONCURRENT_DOWNLOADS", max_downloads, self.downloads)
    }

    fn clamp(&self, setting: &'static str, value: u32, most: u32) -> u32 {
        if value > most {
            tracing::warn!(
                value,
                clamped_to = most,
                open_files_limit = self.limit,
                "{setting} is more than the limit of open files allows: raise that (ulimit -n, or LimitNOFILE of \
                 systemd) or lower {setting}"
            );
        }
        value.min(most)
    }
}

/// The limit of this process, after raising it as far as it may by itself.
fn raised_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: maximum, maximum };
    // Fails on systems whose own maximum is lower than what they report.
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
    fn default_of_connections_fits_into_the_usual_limit() {
        let plan = DescriptorPlan::new(1024).unwrap();
        assert_eq!(plan.clamp_connections(512), 512);
        assert_eq!(plan.clamp_downloads(64), 64);
        assert_eq!(DescriptorPlan::new(u64::MAX).unwrap().clamp_connections(100_000), 100_000);
        assert_eq!(DescriptorPlan::new(20_000).unwrap().s3_requests, 256);
    }

    #[test]
    fn shares_never_exceed_the_limit() {
        for limit in (LEAST..5_000).chain([65_536, 1 << 20]) {
            let plan = DescriptorPlan::new(limit).unwrap();
            let shares = plan.connections + plan.waiting + plan.s3_requests + plan.downloads;
            assert!(plan.connections >= 1 && u64::from(shares) + BASE < limit, "{plan:?}");
            assert_eq!(plan.clamp_connections(u32::MAX), plan.connections);
        }
        assert!(DescriptorPlan::new(64).unwrap().connections >= 8);
    }

    #[test]
    fn too_few_files_are_an_error_that_says_what_to_do() {
        let message = DescriptorPlan::new(63).unwrap_err().to_string();
        for part in ["63", "64", "ulimit -n", "LimitNOFILE"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
