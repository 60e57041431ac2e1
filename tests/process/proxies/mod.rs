//! Real proxies in front of the built server: nginx as Debian installs it, and the configurations of
//! `docs/deployment.md`.
//!
//! Ignored, because they need nginx, HAProxy and openssl: `.ci/run proxies` installs and runs them.

mod documents;
mod haproxy;
mod nginx;
mod proxy;
pub(crate) mod server;
mod tls;
mod traffic;
