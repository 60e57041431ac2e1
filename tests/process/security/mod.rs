//! The built binary's log: addresses of refused callers, and no secrets.

mod forwarded;
mod handshakes;
mod logs;
