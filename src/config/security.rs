//! Who may call the server, and over what: TLS, tokens, and the rule that one of them is there.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::{
    Optional,
    parse::{any_text, boolean, checked, claim, duration, file, keys_url, optional},
    value,
};

/// TLS and authentication of the listener. Everything is off unless it is set.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Security settings")]
pub struct SecuritySettings {
    /// Certificate chain of the server, PEM, its own first; unset: no TLS. Read again when it changes
    #[arg(long, env = "TLS_CERT_FILE", value_parser = optional("TLS_CERT_FILE", file))]
    pub tls_cert_file: Option<Optional<PathBuf>>,

    /// Private key of the server's certificate, PEM
    #[arg(long, env = "TLS_KEY_FILE", value_parser = optional("TLS_KEY_FILE", file))]
    pub tls_key_file: Option<Optional<PathBuf>>,

    /// Certificates of the authorities that clients' certificates must be from, PEM; unset: clients need none
    #[arg(long, env = "TLS_CLIENT_CA_FILE", value_parser = optional("TLS_CLIENT_CA_FILE", file))]
    pub tls_client_ca_file: Option<Optional<PathBuf>>,

    /// Who may call with which bearer token, as JSON with each token's SHA-256; read again when it changes
    #[arg(long, env = "AUTH_TOKENS_FILE", value_parser = optional("AUTH_TOKENS_FILE", file))]
    pub auth_tokens_file: Option<Optional<PathBuf>>,

    /// Issuer (iss) whose JWTs are taken; unset: none are
    #[arg(long, env = "JWT_ISSUER", value_parser = optional("JWT_ISSUER", any_text))]
    pub jwt_issuer: Option<Optional<String>>,

    /// Audience (aud) that JWTs must be for
    #[arg(long, env = "JWT_AUDIENCE", value_parser = optional("JWT_AUDIENCE", any_text))]
    pub jwt_audience: Option<Optional<String>>,

    /// Public keys of the issuer, as a JWK set; read again when it changes
    #[arg(long, env = "JWT_JWKS_FILE", value_parser = optional("JWT_JWKS_FILE", file))]
    pub jwt_jwks_file: Option<Optional<PathBuf>>,

    /// Where the issuer publishes them
    #[arg(long, env = "JWT_JWKS_URL", value_parser = optional("JWT_JWKS_URL", keys_url))]
    pub jwt_jwks_url: Option<Optional<String>>,

    /// How often JWT_JWKS_URL is asked
    #[arg(long, env = "JWT_JWKS_REFRESH", default_value = "5m",
          value_parser = duration("JWT_JWKS_REFRESH", 1_000..=86_400_000))]
    pub jwt_jwks_refresh: Duration,

    /// How far the issuer's clock may be from this one
    #[arg(long, env = "JWT_LEEWAY", default_value = "30s", value_parser = duration("JWT_LEEWAY", 0..=300_000))]
    pub jwt_leeway: Duration,

    /// Claim with the caller's roles: a list, or a text with spaces between them
    #[arg(long, env = "JWT_ROLES_CLAIM", default_value = "roles", value_parser = checked("JWT_ROLES_CLAIM", claim))]
    pub jwt_roles_claim: String,

    /// What this server's roles begin with in that claim, such as tara-export/; others are not its own
    #[arg(long, env = "JWT_ROLE_PREFIX", value_parser = optional("JWT_ROLE_PREFIX", any_text))]
    pub jwt_role_prefix: Option<Optional<String>>,

    /// Listen beyond this machine without TLS and without authentication
    #[arg(long, env = "ALLOW_INSECURE", default_value = "false", num_args = 0..=1, default_missing_value = "true",
          value_parser = checked("ALLOW_INSECURE", boolean))]
    pub allow_insecure: bool,
}

impl SecuritySettings {
    /// As it is where nothing is set.
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
        }
    }

    /// Whether the listener speaks TLS.
    pub fn has_tls(&self) -> bool {
        value(&self.tls_cert_file).is_some()
    }

    /// Whether callers must prove who they are.
    pub fn has_authentication(&self) -> bool {
        value(&self.auth_tokens_file).is_some()
            || value(&self.jwt_issuer).is_some()
            || value(&self.tls_client_ca_file).is_some()
    }

    /// What others should know of a listener on this address, where it is less than safe.
    pub fn warning(&self, address: IpAddr) -> Option<&'static str> {
        if address.is_loopback() {
            return None;
        }
        match (self.has_tls(), self.has_authentication()) {
            (true, true) => None,
            (false, false) => Some(
                "ALLOW_INSECURE: everybody who reaches this address can export and read every bundle, and everybody \
                 on the way can read along; set TLS_CERT_FILE and AUTH_TOKENS_FILE or JWT_ISSUER",
            ),
            (true, false) => Some(
                "there is no authentication: everybody who reaches this address can export and read every bundle; \
                 set AUTH_TOKENS_FILE, JWT_ISSUER or TLS_CLIENT_CA_FILE",
            ),
            (false, true) => Some(
                "there is no TLS: whoever is on the way can read along and take the tokens, unless a proxy in front \
                 of this server does it; set TLS_CERT_FILE",
            ),
        }
    }

    pub(super) fn check(&self, address: IpAddr) -> Result<(), String> {
        let (cert, key) = (value(&self.tls_cert_file), value(&self.tls_key_file));
        if cert.is_some() != key.is_some() {
            return Err(
                "TLS_CERT_FILE and TLS_KEY_FILE go together: set both, or neither".to_owned()
            );
        }
        if value(&self.tls_client_ca_file).is_some() && cert.is_none() {
            return Err(
                "TLS_CLIENT_CA_FILE is set, but there is no TLS: set TLS_CERT_FILE and TLS_KEY_FILE"
                    .to_owned(),
            );
        }
        let keys = [value(&self.jwt_jwks_file).is_some(), value(&self.jwt_jwks_url).is_some()];
        let has_keys = keys.contains(&true);
        match (value(&self.jwt_issuer), value(&self.jwt_audience)) {
            (Some(_), Some(_)) if keys == [true, true] || !has_keys => {
                return Err(
                    "JWT_ISSUER is set: set one of JWT_JWKS_FILE and JWT_JWKS_URL".to_owned()
                );
            }
            (Some(_), Some(_)) => {}
            (None, None) if !has_keys => {}
            _ => {
                return Err(
                    "JWT_ISSUER, JWT_AUDIENCE, and JWT_JWKS_FILE or JWT_JWKS_URL go together: set all, or none"
                        .to_owned(),
                );
            }
        }
        let is_open = !address.is_loopback() && !self.has_tls() && !self.has_authentication();
        if is_open && !self.allow_insecure {
            return Err(format!(
                "BIND_ADDRESS {address} can be reached from other machines, and there is neither TLS nor \
                 authentication: set TLS_CERT_FILE and TLS_KEY_FILE, and AUTH_TOKENS_FILE or JWT_ISSUER; or, where \
                 something else keeps strangers out, ALLOW_INSECURE=true"
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
    struct Only {
        #[command(flatten)]
        security: SecuritySettings,
    }

    fn check(address: &str, arguments: &[&str]) -> Result<(), String> {
        let parsed = Only::try_parse_from([&["tara-export"], arguments].concat()).unwrap();
        parsed.security.check(address.parse().unwrap())
    }

    #[test]
    fn other_machines_need_tls_or_authentication_or_an_explicit_word() {
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
    fn halves_of_settings_are_refused() {
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
    fn what_is_less_than_safe_is_said() {
        let warning = |arguments: &[&str]| {
            let parsed = Only::try_parse_from([&["tara-export"], arguments].concat()).unwrap();
            parsed.security.warning("0.0.0.0".parse().unwrap())
        };
        assert!(warning(&["--allow-insecure"]).unwrap().starts_with("ALLOW_INSECURE"));
        let tls = ["--tls-cert-file", "c", "--tls-key-file", "k"];
        assert!(warning(&tls).unwrap().starts_with("there is no authentication"));
        assert!(warning(&["--auth-tokens-file", "t"]).unwrap().starts_with("there is no TLS"));
        assert_eq!(warning(&[&tls[..], &["--auth-tokens-file", "t"]].concat()), None);
    }
}
