//! `apprunner.yaml` as App Runner uses it: the built binary with the file's command and environment,
//! behind a proxy that speaks HTTP/1.1 and limits the time of each request, with gRPC-Web callers.

mod configuration;
mod export;
mod proxy;
mod service;
