//! Limits that every part of the server shares: who a limit counts for, semaphores that share fairly
//! between callers, and thread pools of a fixed size for blocking work.
//!
//! Knows nothing of exports, stores or gRPC.

mod caller;
mod connections;
mod fair;
mod pool;

pub use self::{
    caller::CallerKey,
    connections::{CallInProgress, ConnectionActivity, ConnectionPlace, Connections},
    fair::{FairPermit, FairSemaphore, Revocation, Revoke, Unavailable},
    pool::{Pool, PoolState, Pools, WorkFailed},
};
