//! Finishes exports that could not be finished when they were accepted: later in this process, after a restart, or on
//! another replica.

pub(in crate::export) mod backlog;
pub(super) mod left;
pub(in crate::export) mod old_files;
pub(super) mod outcome;
pub(in crate::export) mod refill;
pub(super) mod relocate;
pub(in crate::export) mod resume;
pub(in crate::export) mod retention;
pub(super) mod status;
pub(in crate::export) mod sync;
pub(in crate::export) mod takeover;
pub(in crate::export) mod unread;
