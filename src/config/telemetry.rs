//! Settings of logs, metrics and traces.

use std::net::SocketAddr;

use clap::Args;

use super::{
    Optional,
    parse::{
        checked, log_filter, log_format, namespace, optional, otlp_url, ratio, socket_address,
    },
};

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Human-readable on a terminal and in commands, JSON otherwise.
    Auto,
    /// Human-readable.
    Human,
    /// One JSON object per line.
    Json,
}

/// Settings of logs.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log settings")]
pub struct LogSettings {
    /// Log level: error, warn, info, debug or trace, optionally per module, as in info,aws_sdk_s3=debug
    #[arg(long, env = "LOG_LEVEL", global = true, value_parser = optional("LOG_LEVEL", log_filter))]
    pub log_level: Option<Optional<String>>,

    /// Log format: human, json or auto (human on a terminal and in commands, json otherwise)
    #[arg(long, env = "LOG_FORMAT", global = true, default_value = "auto", value_parser = checked("LOG_FORMAT", log_format))]
    pub log_format: LogFormat,
}

impl LogSettings {
    /// Replaces the log level, as an option of the command line does.
    pub fn set_level(&mut self, level: &str) {
        self.log_level = Some(Optional(Some(level.to_owned())));
    }
}

/// Metrics and traces of a server. All are off by default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Telemetry settings")]
pub struct TelemetrySettings {
    /// Address of /metrics for Prometheus, such as 127.0.0.1:9464, without TLS and authentication; unset: none
    #[arg(long, env = "METRICS_LISTEN_ADDR", value_parser = optional("METRICS_LISTEN_ADDR", socket_address))]
    pub metrics_listen_addr: Option<Optional<SocketAddr>>,

    /// CloudWatch namespace for metrics in Embedded Metric Format, written to standard output each minute; unset: none
    #[arg(long, env = "METRICS_EMF_NAMESPACE", value_parser = optional("METRICS_EMF_NAMESPACE", namespace))]
    pub metrics_emf_namespace: Option<Optional<String>>,

    /// URL of the collector for traces over OTLP with gRPC, such as http://127.0.0.1:4317; unset: no traces
    #[arg(long, env = "TRACE_OTLP_ENDPOINT", value_parser = optional("TRACE_OTLP_ENDPOINT", otlp_url))]
    pub trace_otlp_endpoint: Option<Optional<String>>,

    /// Fraction of calls to trace if the caller does not trace them (0 to 1)
    #[arg(long, env = "TRACE_SAMPLE_RATIO", default_value = "0.01", value_parser = checked("TRACE_SAMPLE_RATIO", ratio))]
    pub trace_sample_ratio: f64,
}
