//! Settings of the listener: address, connections, streams and shutdown.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use ipnet::IpNet;

use super::{
    Optional, SecuritySettings,
    parse::{
        checked, duration, file_mode, header_name, ip_address, number, optional, origin, proxy,
        socket_path, stream_time,
    },
    value,
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

    /// Unix socket to listen on instead of BIND_ADDRESS and PORT, a path of at most 100 bytes; unset: none
    #[arg(long, env = "UNIX_SOCKET", value_parser = optional("UNIX_SOCKET", socket_path))]
    pub unix_socket: Option<Optional<PathBuf>>,

    /// Permissions of the Unix socket, in octal: a user who may write to it may connect (000 to 777)
    #[arg(long, env = "UNIX_SOCKET_MODE", default_value = "600",
          value_parser = checked("UNIX_SOCKET_MODE", file_mode))]
    pub unix_socket_mode: u32,

    /// Origins of web pages that may call over gRPC-Web, separated by commas; *: all; unset: none
    #[arg(long, env = "CORS_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = optional("CORS_ALLOWED_ORIGINS", origin))]
    pub cors_allowed_origins: Vec<Optional<String>>,

    /// Request headers that these web pages may send, besides those of gRPC-Web and of common tracing libraries,
    /// separated by commas; *: all; unset: no others
    #[arg(long, env = "CORS_ALLOWED_HEADERS", value_delimiter = ',',
          value_parser = optional("CORS_ALLOWED_HEADERS", header_name))]
    pub cors_allowed_headers: Vec<Optional<String>>,

    /// Maximum number of connections (1 to 100000); more wait until others end
    #[arg(long, env = "MAX_CONNECTIONS", default_value = "512", value_parser = number("MAX_CONNECTIONS", 1..=100_000))]
    pub max_connections: u32,

    /// Proxies whose X-Forwarded-For header is trusted for the client's address, as IP addresses, networks (CIDR)
    /// and unix (every peer of UNIX_SOCKET), separated by commas; unset: the header is ignored
    #[arg(long, env = "TRUSTED_PROXIES", value_delimiter = ',', value_parser = optional("TRUSTED_PROXIES", proxy))]
    pub trusted_proxies: Vec<Optional<TrustedProxy>>,

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
            unix_socket: None,
            unix_socket_mode: 0o600,
            cors_allowed_origins: Vec::new(),
            cors_allowed_headers: Vec::new(),
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
        match value(&self.unix_socket) {
            Some(_) if self.security.has_tls() => {
                Err("UNIX_SOCKET has no TLS: unset TLS_CERT_FILE, or unset UNIX_SOCKET".to_owned())
            }
            Some(_) => self.security.check(None),
            None => self.security.check(Some(self.bind_address)),
        }
    }

    /// A warning if the listener is insecure. A Unix socket is reachable from this machine only.
    pub fn warning(&self) -> Option<&'static str> {
        match value(&self.unix_socket) {
            Some(_) => None,
            None => self.security.warning(self.bind_address),
        }
    }
}

/// A proxy that reports the addresses of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustedProxy {
    /// The proxies in this network.
    Network(IpNet),
    /// Every peer of the Unix socket.
    Unix,
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(formatter),
            Self::Unix => formatter.write_str("unix"),
        }
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
