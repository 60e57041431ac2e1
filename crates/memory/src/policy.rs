//! When to return memory.
#![cfg_attr(not(all(target_os = "linux", target_env = "gnu")), allow(dead_code))]

use std::time::Duration;

/// How often the process is observed.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);
/// Less is not worth returning. Half of the 32 MiB that may stay after a load (docs/limits.md).
const WORTH_RETURNING_BYTES: u64 = 16 << 20;
/// A process that used more of a processor since the last observation is busy: what it returns it
/// would take again.
const BUSY: Duration = Duration::from_millis(500);
/// A busy process returns memory this often all the same.
const BUSY_PAUSE: Duration = Duration::from_secs(60);
/// A return of less has hardly returned anything.
const MUCH_BYTES: u64 = 1 << 20;
/// Pauses grow up to this while returns return hardly anything.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A return takes at most one part in so many of the time.
const SHARE_OF_TIME: u32 = 200;

/// What is observed of the process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// The memory that it has of the system.
    pub(crate) resident_bytes: u64,
    /// The processor time it has used since its start.
    pub(crate) processor: Duration,
}

/// Decides when memory is returned.
#[derive(Debug, Default)]
pub(crate) struct Policy {
    /// The least memory that the process had after a return, or at the first observation.
    floor_bytes: Option<u64>,
    last: Usage,
    since_return: Duration,
    /// How long the next return waits.
    pause: Duration,
}

impl Policy {
    /// Whether to return memory now. Called once each [`INTERVAL`].
    pub(crate) fn observe(&mut self, now: Usage) -> bool {
        let floor_bytes = *self.floor_bytes.get_or_insert(now.resident_bytes);
        let used = now.processor.saturating_sub(self.last.processor);
        self.last = now;
        self.since_return += INTERVAL;
        let is_quiet = used < BUSY || self.since_return >= BUSY_PAUSE;
        now.resident_bytes >= floor_bytes + WORTH_RETURNING_BYTES
            && is_quiet
            && self.since_return >= self.pause
    }

    /// Notes a return, how long it took, and what the process has after it.
    pub(crate) fn returned(&mut self, after: Usage, took: Duration) {
        let floor_bytes = self.floor_bytes.unwrap_or(u64::MAX);
        self.floor_bytes = Some(floor_bytes.min(after.resident_bytes));
        let returned_bytes = self.last.resident_bytes.saturating_sub(after.resident_bytes);
        // Memory in use does not return however often that is tried.
        let pause = match returned_bytes {
            ..MUCH_BYTES => (self.pause * 2).clamp(2 * INTERVAL, LONGEST_PAUSE),
            _ => INTERVAL,
        };
        self.pause = pause.max(took * SHARE_OF_TIME).min(LONGEST_PAUSE);
        self.last = after;
        self.since_return = Duration::ZERO;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn usage(mebibytes: u64, processor_ms: u64) -> Usage {
        Usage { resident_bytes: mebibytes * MIB, processor: Duration::from_millis(processor_ms) }
    }

    #[test]
    fn memory_is_returned_after_a_load_and_not_during_it() {
        let mut policy = Policy::default();
        assert!(!policy.observe(usage(40, 0)));
        for second in 1..10 {
            assert!(!policy.observe(usage(40 + 50 * second, 1_000 * second)), "{second}");
        }
        assert!(policy.observe(usage(490, 9_100)));
        policy.returned(usage(45, 9_150), Duration::from_millis(5));
        assert!(!policy.observe(usage(46, 9_160)));
    }

    #[test]
    fn process_that_is_always_busy_returns_memory_once_a_minute() {
        let mut policy = Policy::default();
        policy.observe(usage(40, 0));
        let returns = (1..=180).filter(|second| {
            let now = usage(400, 1_000 * second);
            let is_due = policy.observe(now);
            if is_due {
                policy.returned(now, Duration::ZERO);
            }
            is_due
        });
        assert_eq!(returns.count(), 3);
    }

    #[test]
    fn memory_in_use_is_tried_again_after_growing_pauses() {
        let mut policy = Policy::default();
        policy.observe(usage(40, 0));
        let mut tries = Vec::new();
        for second in 1..=120_u32 {
            if policy.observe(usage(400, 10)) {
                policy.returned(usage(400, 10), Duration::from_millis(1));
                tries.push(second);
            }
        }
        assert_eq!(tries, [1, 3, 7, 15, 31, 61, 91]);
    }

    #[test]
    fn long_returns_are_rare() {
        let mut policy = Policy::default();
        policy.observe(usage(40, 0));
        assert!(policy.observe(usage(400, 0)));
        policy.returned(usage(300, 0), Duration::from_millis(50));
        let next = (1..).find(|_| policy.observe(usage(300, 0)));
        assert_eq!(next, Some(10));
    }
}
