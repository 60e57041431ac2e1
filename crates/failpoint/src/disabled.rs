//! Without the feature: failpoints do nothing.

use std::{io, path::Path};

/// Does nothing.
#[inline(always)]
pub const fn from_environment() -> Failpoints {
    Failpoints
}

/// No failpoints.
#[derive(Debug)]
#[must_use]
pub struct Failpoints;

/// Does nothing.
#[inline(always)]
pub const fn reached(_: &str) {}

/// Injects no error.
#[inline(always)]
pub const fn disk_error(_: &str, _: &Path) -> Option<io::Error> {
    None
}

/// Injects no error.
#[inline(always)]
pub const fn persistent_error(_: &str, _: &Path) -> Option<io::Error> {
    None
}
