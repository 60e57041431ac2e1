//! Writes the bundle of an accepted export: the order of the stores, the commit protocol and the cleanup afterwards.

pub(in crate::export) mod attempt;
pub(in crate::export) mod breaker;
pub(in crate::export) mod cleanup;
pub(in crate::export) mod commit;
pub(in crate::export) mod documents;
pub(in crate::export) mod events;
pub(in crate::export) mod execute;
pub(in crate::export) mod identity;
pub(in crate::export) mod job;
pub(in crate::export) mod load;
pub(in crate::export) mod observer;
pub(in crate::export) mod store_journal;
pub(in crate::export) mod work;
