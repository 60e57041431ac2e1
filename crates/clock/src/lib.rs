//! Time and new ids, injected so that tests control both.
//!
//! A separate crate because several others share the trait. Never depends on a runtime or on another crate of
//! this workspace.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The source of wall-clock time and new ids. Timeouts and intervals use tokio's clock instead.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time.
    fn now(&self) -> DateTime<Utc>;

    /// A new random id.
    fn new_id(&self) -> Uuid;
}

/// The machine's clock and random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn new_id(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// The interval, up to a quarter shorter or longer, so that processes that started together do not act together.
pub fn jittered(interval: Duration, random: u8) -> Duration {
    interval * (192 + u32::from(random) / 2) / 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_at_most_a_quarter_of_the_interval() {
        let interval = Duration::from_secs(256);
        assert_eq!(jittered(interval, 0), Duration::from_secs(192));
        assert_eq!(jittered(interval, 128), interval);
        assert_eq!(jittered(interval, 255), Duration::from_secs(319));
    }
}
