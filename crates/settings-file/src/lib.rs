//! JSON files of settings: every fault is reported with its path, and secrets are not.
//!
//! Independent of what the settings mean. Never depends on the network, tokio, or another crate of this workspace than
//! `tara-export-disk`.

mod faults;
mod fields;
mod json;
mod name;
mod text;

pub use self::{
    faults::{Fault, Faults, InvalidFile},
    fields::{Fields, quoted},
    name::Name,
    text::{FILE_LIMIT_BYTES, LoadError, read_text},
};
