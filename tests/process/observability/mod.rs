//! Metrics, logs and traces of the built binary, with an S3 server in memory and a test trace collector.

pub(crate) mod collector;
mod dashboards;
mod emf;
mod metrics;
mod process;
mod traces;
