//! Time and new ids, injected so that tests decide both.

use std::fmt;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Where the service takes wall-clock time and new ids from. Timeouts and intervals use tokio's
/// clock instead.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
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
