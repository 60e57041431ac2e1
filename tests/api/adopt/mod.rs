//! Adoption of folders that the review application wrote before this service existed, on local disk and in an S3 server
//! in memory.

mod command;
pub(crate) mod fixture;
mod interrupted;
mod read_back;
mod real_s3;
mod skipped;
