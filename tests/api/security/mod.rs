//! Authentication, authorization, TLS and host checks: the real service over TCP and TLS. Each test generates its
//! certificates, tokens and keys.

mod attacks;
mod callers;
mod hosts;
mod jwt;
mod roles;
mod s3;
mod tls;
mod uploads;
