//! Checks of the repository itself: the source's layout, and documents that name code, tests and settings.
//! Nothing here starts a server.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on fails")]

mod architecture;
mod clone;
mod contributing;
mod documents;
mod guarantees;
mod markdown;
