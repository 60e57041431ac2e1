//! Settings of TLS and authentication, and the rule that a public listener has at least one of them.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{
    Optional,
    parse::{any_text, boolean, checked, claim, duration, file, host, keys_url, optional},
    value, values,
};
use crate::host::HostPattern;

/// For more hosts, `.example.com` covers a domain.
const ALLOWED_HOSTS_LIMIT: usize = 100;

/// TLS and authentication of the listener. Both are off by default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Security settings")]
pub struct SecuritySettings {
    /// Certificate chain of the server (PEM), server certificate first; reloaded when it changes; unset: no TLS
    #[arg(long, env = "TLS_CERT_FILE", value_parser = optional("TLS_CERT_FILE", file))]
    pub tls_cert_file: Option<Optional<PathBuf>>,

    /// Private key of the server's certificate (PEM)
    #[arg(long, env = "TLS_KEY_FILE", value_parser = optional("TLS_KEY_FILE", file))]
    pub tls_key_file: Option<Optional<PathBuf>>,

    /// CA certificates (PEM) that must have issued the clients' certificates; unset: clients need no certificates
    #[arg(long, env = "TLS_CLIENT_CA_FILE", value_parser = optional("TLS_CLIENT_CA_FILE", file))]
    pub tls_client_ca_file: Option<Optional<PathBuf>>,

    /// Callers and the SHA-256 of their bearer tokens, as JSON; reloaded when it changes
    #[arg(long, env = "AUTH_TOKENS_FILE", value_parser = optional("AUTH_TOKENS_FILE", file))]
    pub auth_tokens_file: Option<Optional<PathBuf>>,

    /// Issuer (iss) whose JWTs are accepted; unset: none
    #[arg(long, env = "JWT_ISSUER", value_parser = optional("JWT_ISSUER", any_text))]
    pub jwt_issuer: Option<Optional<String>>,

    /// Required audience (aud) of JWTs
    #[arg(long, env = "JWT_AUDIENCE", value_parser = optional("JWT_AUDIENCE", any_text))]
    pub jwt_audience: Option<Optional<String>>,

    /// Public keys of the issuer, as a JWK set; reloaded when it changes
    #[arg(long, env = "JWT_JWKS_FILE", value_parser = optional("JWT_JWKS_FILE", file))]
    pub jwt_jwks_file: Option<Optional<PathBuf>>,

    /// URL of the issuer's public keys, as a JWK set
    #[arg(long, env = "JWT_JWKS_URL", value_parser = optional("JWT_JWKS_URL", keys_url))]
    pub jwt_jwks_url: Option<Optional<String>>,

    /// Interval at which JWT_JWKS_URL is reloaded (1s to 1d)
    #[arg(long, env = "JWT_JWKS_REFRESH", default_value = "5m",
          value_parser = duration("JWT_JWKS_REFRESH", 1_000..=86_400_000))]
    pub jwt_jwks_refresh: Duration,

    /// Maximum difference between the clocks of the issuer and this server (0s to 5m)
    #[arg(long, env = "JWT_LEEWAY", default_value = "30s", value_parser = duration("JWT_LEEWAY", 0..=300_000))]
    pub jwt_leeway: Duration,

    /// Claim with the caller's roles, as a list or a string with spaces between them
    #[arg(long, env = "JWT_ROLES_CLAIM", default_value = "roles", value_parser = checked("JWT_ROLES_CLAIM", claim))]
    pub jwt_roles_claim: String,

    /// Prefix of this server's roles in that claim, such as tara-export/; other roles are ignored
    #[arg(long, env = "JWT_ROLE_PREFIX", value_parser = optional("JWT_ROLE_PREFIX", any_text))]
    pub jwt_role_prefix: Option<Optional<String>>,

    /// Allow listening on a non-loopback address without TLS and authentication
    #[arg(long, env = "ALLOW_INSECURE", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("ALLOW_INSECURE", boolean))]
    pub allow_insecure: bool,

    /// Allowed hosts of requests besides loopback names and BIND_ADDRESS, separated by commas; protects against DNS
    /// rebinding. .example.com: the domain and its subdomains; *: all hosts; unset: no other hosts without
    /// authentication, all hosts with it
    #[arg(long, env = "ALLOWED_HOSTS", value_delimiter = ',', value_parser = optional("ALLOWED_HOSTS", host))]
    pub allowed_hosts: Vec<Optional<HostPattern>>,
}

impl SecuritySettings {
    /// The default settings.
    pub fn none() -> Self {
        Self {
            tls_cert_file: None,
            tls_key_file: None,
            tls_client_ca_file: None,
            auth_tokens_file: None,
            jwt_issuer: None,
            jwt_audience: None,
            jwt_jwks_file: None,
            jwt_jwks_url: None,
            jwt_jwks_refresh: Duration::from_secs(300),
            jwt_leeway: Duration::from_secs(30),
            jwt_roles_claim: "roles".to_owned(),
            jwt_role_prefix: None,
            allow_insecure: false,
            allowed_hosts: Vec::new(),
        }
    }

    /// Whether the listener uses TLS.
    pub fn has_tls(&self) -> bool {
        value(&self.tls_cert_file).is_some()
    }

    /// Whether callers must authenticate.
    pub fn has_authentication(&self) -> bool {
        value(&self.auth_tokens_file).is_some()
            || value(&self.jwt_issuer).is_some()
            || value(&self.tls_client_ca_file).is_some()
    }

    /// The allowed hosts of requests besides loopback names and the bind address. `None` if all hosts are allowed: a
    /// page of another host has no token, and over TLS its browser rejects this server's certificate.
    pub fn host_check(&self) -> Option<Vec<HostPattern>> {
        let allowed = values(&self.allowed_hosts);
        (!allowed.is_empty() || !self.has_authentication()).then_some(allowed)
    }

    /// A warning if a listener on this address is insecure.
    pub fn warning(&self, address: IpAddr) -> Option<&'static str> {
        if address.is_loopback() {
            return None;
        }
        match (self.has_tls(), self.has_authentication()) {
            (true, true) => None,
            (false, false) => Some(
                "ALLOW_INSECURE: everyone who can reach this address can export and read every bundle, and the traffic \
                 is not encrypted; set TLS_CERT_FILE and AUTH_TOKENS_FILE or JWT_ISSUER",
            ),
            (true, false) => Some(
                "there is no authentication: everyone who can reach this address can export and read every bundle; \
                 set AUTH_TOKENS_FILE, JWT_ISSUER or TLS_CLIENT_CA_FILE",
            ),
            (false, true) => Some(
                "there is no TLS: the traffic, including tokens, is not encrypted unless a proxy in front of this \
                 server terminates TLS; set TLS_CERT_FILE",
            ),
        }
    }

    /// Checks the settings of a listener on this address, or on a Unix socket.
    pub(super) fn check(&self, address: Option<IpAddr>) -> Result<(), String> {
        let (cert, key) = (value(&self.tls_cert_file), value(&self.tls_key_file));
        if cert.is_some() != key.is_some() {
            return Err(
                "TLS_CERT_FILE and TLS_KEY_FILE require each other: set both or neither".to_owned()
            );
        }
        if value(&self.tls_client_ca_file).is_some() && cert.is_none() {
            return Err(
                "TLS_CLIENT_CA_FILE requires TLS: set TLS_CERT_FILE and TLS_KEY_FILE".to_owned()
            );
        }
        let keys = [value(&self.jwt_jwks_file).is_some(), value(&self.jwt_jwks_url).is_some()];
        let has_keys = keys.contains(&true);
        match (value(&self.jwt_issuer), value(&self.jwt_audience)) {
            (Some(_), Some(_)) if keys == [true, true] || !has_keys => {
                return Err(
                    "JWT_ISSUER requires exactly one of JWT_JWKS_FILE and JWT_JWKS_URL".to_owned()
                );
            }
            (Some(_), Some(_)) => {}
            (None, None) if !has_keys => {}
            _ => {
                return Err(
                    "JWT_ISSUER, JWT_AUDIENCE, and JWT_JWKS_FILE or JWT_JWKS_URL require each other: set all or none"
                        .to_owned(),
                );
            }
        }
        if self.allowed_hosts.len() > ALLOWED_HOSTS_LIMIT {
            return Err(format!(
                "ALLOWED_HOSTS has {} hosts, but at most {ALLOWED_HOSTS_LIMIT} are allowed; .example.com includes all \
                 subdomains",
                self.allowed_hosts.len()
            ));
        }
        let is_open = !self.has_tls() && !self.has_authentication() && !self.allow_insecure;
        if let Some(address) = address.filter(|address| is_open && !address.is_loopback()) {
            return Err(format!(
                "BIND_ADDRESS {address} is reachable from other machines, and there is neither TLS nor \
                 authentication: set TLS_CERT_FILE and TLS_KEY_FILE, and AUTH_TOKENS_FILE or JWT_ISSUER; or set \
                 ALLOW_INSECURE=true if the network is otherwise protected"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Arguments {
        #[command(flatten)]
        security: SecuritySettings,
    }

    fn check(address: &str, arguments: &[&str]) -> Result<(), String> {
        let parsed = Arguments::try_parse_from([&["tara-export"], arguments].concat()).unwrap();
        parsed.security.check(Some(address.parse().unwrap()))
    }

    #[test]
    fn public_address_requires_tls_authentication_or_allow_insecure() {
        check("127.0.0.1", &[]).unwrap();
        check("::1", &[]).unwrap();
        for address in ["0.0.0.0", "::", "10.0.0.7"] {
            let message = check(address, &[]).unwrap_err();
            for part in [
                "BIND_ADDRESS",
                address,
                "TLS_CERT_FILE",
                "AUTH_TOKENS_FILE",
                "ALLOW_INSECURE=true",
            ] {
                assert!(message.contains(part), "{message}");
            }
            check(address, &["--allow-insecure"]).unwrap();
            check(address, &["--auth-tokens-file", "t"]).unwrap();
            check(address, &["--tls-cert-file", "c", "--tls-key-file", "k"]).unwrap();
        }
    }

    #[test]
    fn incomplete_settings_are_rejected() {
        for (arguments, part) in [
            (&["--tls-cert-file", "c"][..], "TLS_KEY_FILE"),
            (&["--tls-client-ca-file", "c"], "TLS_CERT_FILE"),
            (&["--jwt-issuer", "i"], "JWT_AUDIENCE"),
            (&["--jwt-jwks-file", "f"], "JWT_ISSUER"),
            (&["--jwt-issuer", "i", "--jwt-audience", "a"], "JWT_JWKS_FILE"),
            (
                &[
                    "--jwt-issuer",
                    "i",
                    "--jwt-audience",
                    "a",
                    "--jwt-jwks-file",
                    "f",
                    "--jwt-jwks-url",
                    "https://x/y",
                ],
                "one of",
            ),
        ] {
            let message = check("127.0.0.1", arguments).unwrap_err();
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn hosts_are_checked_without_authentication_or_if_configured() {
        let hosts = |arguments: &[&str]| {
            let parsed = Arguments::try_parse_from([&["tara-export"], arguments].concat()).unwrap();
            parsed.security.host_check().map(|hosts| hosts.len())
        };
        assert_eq!(hosts(&[]), Some(0));
        assert_eq!(hosts(&["--allowed-hosts", "a,b"]), Some(2));
        assert_eq!(hosts(&["--tls-cert-file", "c", "--tls-key-file", "k"]), Some(0));
        assert_eq!(hosts(&["--auth-tokens-file", "t"]), None);
        assert_eq!(hosts(&["--auth-tokens-file", "t", "--allowed-hosts="]), None);
        assert_eq!(hosts(&["--jwt-issuer", "i", "--allowed-hosts", "a"]), Some(1));
    }

    #[test]
    fn too_many_allowed_hosts_are_rejected() {
        let hosts = vec!["export.example.com"; ALLOWED_HOSTS_LIMIT + 1];
        let message = check("127.0.0.1", &["--allowed-hosts", &hosts.join(",")]).unwrap_err();
        assert!(message.contains("ALLOWED_HOSTS") && message.contains("at most 100"), "{message}");
        check("127.0.0.1", &["--allowed-hosts", &hosts[1..].join(",")]).unwrap();
    }

    #[test]
    fn insecure_listener_has_a_warning() {
        let warning = |arguments: &[&str]| {
            let parsed = Arguments::try_parse_from([&["tara-export"], arguments].concat()).unwrap();
            parsed.security.warning("0.0.0.0".parse().unwrap())
        };
        assert!(warning(&["--allow-insecure"]).unwrap().starts_with("ALLOW_INSECURE"));
        let tls = ["--tls-cert-file", "c", "--tls-key-file", "k"];
        assert!(warning(&tls).unwrap().starts_with("there is no authentication"));
        assert!(warning(&["--auth-tokens-file", "t"]).unwrap().starts_with("there is no TLS"));
        assert_eq!(warning(&[&tls[..], &["--auth-tokens-file", "t"]].concat()), None);
    }
}
