//! Limits that every part of the server uses: caller keys, semaphores that share fairly between callers, and
//! thread pools of a fixed size for blocking work.
//!
//! Independent of exports, stores and gRPC. Never depends on another crate of this workspace.

mod caller;
mod connections;
mod fair;
mod pool;

pub use self::{
    caller::CallerKey,
    connections::{CallInProgress, ConnectionActivity, ConnectionPermit, Connections},
    fair::{FairPermit, FairSemaphore, Revocation, Revoke, Unavailable},
    pool::{Pool, PoolState, Pools, WorkFailed},
};
