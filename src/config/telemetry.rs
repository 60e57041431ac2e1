//! What is told of a server while it runs: logs, metrics and traces.

use std::net::SocketAddr;

use clap::Args;

use super::{
    LogFormat, Optional,
    parse::{
        checked, log_filter, log_format, namespace, optional, otlp_url, ratio, socket_address,
    },
};

/// How logs are written.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log settings")]
pub struct LogSettings {
    /// What is logged: error, warn, info, debug or trace, also by part, as in info,aws_sdk_s3=debug
    #[arg(long, env = "LOG_LEVEL", global = true, value_parser = optional("LOG_LEVEL", log_filter))]
    pub log_level: Option<Optional<String>>,

    /// How it is written: human, json, or auto, which is human on a terminal and in commands
    #[arg(long, env = "LOG_FORMAT", global = true, default_value = "auto", value_parser = checked("LOG_FORMAT", log_format))]
    pub log_format: LogFormat,
}

/// Metrics and traces of a server. Everything is off unless it is set.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry settings")]
pub struct TelemetrySettings {
    /// Address and port of /metrics for Prometheus, such as 127.0.0.1:9464; unset: none. It has no TLS and asks
    /// nobody who they are
    #[arg(long, env = "METRICS_LISTEN_ADDR", value_parser = optional("METRICS_LISTEN_ADDR", socket_address))]
    pub metrics_listen_addr: Option<Optional<SocketAddr>>,

    /// CloudWatch namespace under which metrics are written to standard output each minute, as Embedded Metric
    /// Format; unset: they are not
    #[arg(long, env = "METRICS_EMF_NAMESPACE", value_parser = optional("METRICS_EMF_NAMESPACE", namespace))]
    pub metrics_emf_namespace: Option<Optional<String>>,

    /// Collector that traces are sent to over OTLP with gRPC, such as http://127.0.0.1:4317; unset: none are
    #[arg(long, env = "TRACE_OTLP_ENDPOINT", value_parser = optional("TRACE_OTLP_ENDPOINT", otlp_url))]
    pub trace_otlp_endpoint: Option<Optional<String>>,

    /// Which part of the calls is traced whose callers don't trace
    #[arg(long, env = "TRACE_SAMPLE_RATIO", default_value = "0.01", value_parser = checked("TRACE_SAMPLE_RATIO", ratio))]
    pub trace_sample_ratio: f64,
}
