//! The health of a server: whether its threads make progress, and whether it accepts exports.
//!
//! Liveness reports only what a restart fixes. A restart does not fix a full or failing disk, and could lose a disk
//! that is deleted with its container. Such disks are reported as acceptance.

mod acceptance;
mod monitor;
mod stalls;

pub use self::{
    acceptance::{Acceptance, Refusal, RefusalReason},
    monitor::{Monitor, MonitorSettings},
    stalls::{RUNTIME, Stall, Stalls},
};

/// The health of one server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Health {
    /// Pools that make no progress.
    pub stalls: Stalls,
    /// Whether exports are accepted.
    pub acceptance: Acceptance,
}
