//! What a server knows of its own health: whether its threads make progress, and whether it would accept an
//! export.
//!
//! Liveness is for what a restart cures. A full or failing disk is none of that: a restart would not cure it,
//! and could lose a disk that dies with its container. It is reported as acceptance.

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
    /// What makes no progress.
    pub stalls: Stalls,
    /// Why no export would be accepted.
    pub acceptance: Acceptance,
}
