//! Settings of the listener: address, connections, streams and shutdown.

use std::{net::IpAddr, time::Duration};

use clap::Args;
use ipnet::IpNet;

use super::{
    Optional, SecuritySettings,
    parse::{checked, duration, ip_address, network, number, optional, origin, stream_time},
};

/// Settings of the listener.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Listener settings")]
pub struct ListenSettings {
    /// Port for gRPC, gRPC-Web, /healthz and /livez; 0: any free port
    #[arg(long, env = "PORT", default_value = "8080", value_parser = number("PORT", 0..=65_535))]
    pub port: u32,

    /// Address to listen on
    #[arg(long, env = "BIND_ADDRESS", default_value = "127.0.0.1", value_parser = checked("BIND_ADDRESS", ip_address))]
    pub bind_address: IpAddr,

    /// Origins of web pages that may call over gRPC-Web, separated by commas; *: all; unset: none
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = optional("CORS_ALLOWED_ORIGINS", origin))]
    pub cors_allowed_origins: Vec<Optional<String>>,

    /// Maximum number of connections (1 to 100000); more wait until others end
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "512", value_parser = number("MAX_CONNECTIONS", 1..=100_000))]
    pub max_connections: u32,

    /// Proxies whose X-Forwarded-For header is trusted for the client's address, as IP addresses and networks (CIDR)
    /// separated by commas; unset: the header is ignored
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = optional("TRUSTED_PROXIES", network))]
    pub trusted_proxies: Vec<Optional<IpNet>>,

    /// Maximum number of concurrent calls on one HTTP/2 connection (1 to 10000)
    #[arg(long, env = "MAX_CONCURRENT_STREAMS", default_value = "256",
          value_parser = number("MAX_CONCURRENT_STREAMS", 1..=10_000))]
    pub max_concurrent_streams: u32,

    /// Interval of HTTP/2 and TCP keepalives (1s to 1h)
    #[arg(long, env = "KEEPALIVE_INTERVAL", default_value = "30s",
          value_parser = duration("KEEPALIVE_INTERVAL", 1_000..=3_600_000))]
    pub keepalive_interval: Duration,

    /// Maximum duration of a response (1s to 1d); a longer stream ends with STREAM_ENDED_EARLY before a proxy cuts it;
    /// 0s: no limit
    #[arg(long, env = "MAX_STREAM_TIME", default_value = "0s", value_parser = stream_time("MAX_STREAM_TIME"))]
    pub max_stream_time: StreamTime,

    /// How long a client may read nothing of a response before it ends with STREAM_ENDED_EARLY (100ms to 10m)
    #[arg(long, env = "READ_IDLE_TIMEOUT", default_value = "30s",
          value_parser = duration("READ_IDLE_TIMEOUT", 100..=600_000))]
    pub read_idle_timeout: Duration,

    /// How long a thread pool or the async runtime may have waiting work without progress before the health service
    /// liveness and /livez fail (1s to 1h)
    #[arg(long, env = "STALL_THRESHOLD", default_value = "60s",
          value_parser = duration("STALL_THRESHOLD", 1_000..=3_600_000))]
    pub stall_threshold: Duration,

    /// Maximum duration of a shutdown, most of which is for running exports (0s to 10m)
    #[arg(long, env = "SHUTDOWN_TIMEOUT", default_value = "20s",
          value_parser = duration("SHUTDOWN_TIMEOUT", 0..=600_000))]
    pub shutdown_timeout: Duration,

    /// TLS and authentication.
    #[command(flatten)]
    pub security: SecuritySettings,
}

impl ListenSettings {
    /// Settings of an embedded server: loopback only, any free port.
    pub fn embedded() -> Self {
        Self {
            port: 0,
            bind_address: IpAddr::from([127, 0, 0, 1]),
            cors_allowed_origins: Vec::new(),
            max_connections: 512,
            trusted_proxies: Vec::new(),
            max_concurrent_streams: 256,
            keepalive_interval: Duration::from_secs(30),
            max_stream_time: StreamTime::UNLIMITED,
            stall_threshold: Duration::from_secs(60),
            read_idle_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(20),
            security: SecuritySettings::none(),
        }
    }

    /// Checks settings against each other.
    ///
    /// # Errors
    /// A human-readable message that names the settings.
    pub fn check(&self) -> Result<(), String> {
        self.security.check(self.bind_address)
    }
}

/// Limit for the duration of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamTime(pub(super) Option<Duration>);

impl StreamTime {
    /// No limit.
    pub const UNLIMITED: Self = Self(None);

    /// The limit, if any.
    pub fn limit(self) -> Option<Duration> {
        self.0
    }
}
