//! Time and new ids, injected so that tests control both.
//!
//! A separate crate because several others share the trait. Never depends on a runtime or on another crate of
//! this workspace.

use std::fmt;

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
