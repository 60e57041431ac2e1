//! Broken and malicious peers: they are disconnected within bounds, and other callers are not affected.

mod peer;
mod server_process;

mod connections;
mod descriptors;
mod fairness;
mod half_open;
mod headers;
mod slow_bodies;
mod slow_readers;
mod streams;
mod unread_responses;
mod unsent_bodies;
