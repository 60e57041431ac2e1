//! Metrics and spans, each through a facade. The server decides where they are exported.
//!
//! Never depends on an exporter, on settings, or on another crate of this workspace.

pub mod names;
pub mod spans;
