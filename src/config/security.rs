//! Settings of TLS and authentication, and the rule that a public listener has at least one of them.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::Args;
use tara_export_auth::{ClaimPath, RequiredClaims, RoleMap, is_issuer_url};

use super::{
    Optional,
    parse::{
        any_text, audience, boolean, checked, described, duration, file, host, issuer, keys_url,
        optional,
    },
    value, values,
};
use crate::host::HostPattern;

/// For more hosts, `.example.com` covers a domain.
const ALLOWED_HOSTS_LIMIT: usize = 100;
/// A provider has few names.
const ISSUERS_LIMIT: usize = 10;
const AUDIENCES_LIMIT: usize = 100;

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

    /// Issuer (iss) whose JWTs are accepted; several names of one provider are separated by commas; unset: none
    #[arg(long, env = "JWT_ISSUER", value_delimiter = ',', value_parser = optional("JWT_ISSUER", issuer))]
    pub jwt_issuer: Vec<Optional<String>>,

    /// Required audience of JWTs; of several, separated by commas, a JWT must name one
    #[arg(long, env = "JWT_AUDIENCE", value_delimiter = ',', value_parser = optional("JWT_AUDIENCE", audience))]
    pub jwt_audience: Vec<Optional<String>>,

    /// Claim with the audience, for tokens without aud, such as client_id
    #[arg(long, env = "JWT_AUDIENCE_CLAIM", default_value = "aud",
          value_parser = checked("JWT_AUDIENCE_CLAIM", described::<ClaimPath>))]
    pub jwt_audience_claim: ClaimPath,

    /// Public keys of the issuer, as a JWK set; reloaded when it changes
    #[arg(long, env = "JWT_JWKS_FILE", value_parser = optional("JWT_JWKS_FILE", file))]
    pub jwt_jwks_file: Option<Optional<PathBuf>>,

    /// URL of the issuer's public keys, as a JWK set; unset: found from JWT_ISSUER (OpenID Connect Discovery)
    #[arg(long, env = "JWT_JWKS_URL", value_parser = optional("JWT_JWKS_URL", keys_url))]
    pub jwt_jwks_url: Option<Optional<String>>,

    /// Interval at which the keys are fetched again (1s to 1d)
    #[arg(long, env = "JWT_JWKS_REFRESH", default_value = "5m",
          value_parser = duration("JWT_JWKS_REFRESH", 1_000..=86_400_000))]
    pub jwt_jwks_refresh: Duration,

    /// CA certificates (PEM) that verify the server of the keys, instead of this machine's; read with each fetch
    #[arg(long, env = "JWT_JWKS_CA_FILE", value_parser = optional("JWT_JWKS_CA_FILE", file))]
    pub jwt_jwks_ca_file: Option<Optional<PathBuf>>,

    /// File with a bearer token that the server of the keys requires; read with each fetch
    #[arg(long, env = "JWT_JWKS_TOKEN_FILE", value_parser = optional("JWT_JWKS_TOKEN_FILE", file))]
    pub jwt_jwks_token_file: Option<Optional<PathBuf>>,

    /// Maximum difference between the clocks of the issuer and this server (0s to 5m)
    #[arg(long, env = "JWT_LEEWAY", default_value = "30s", value_parser = duration("JWT_LEEWAY", 0..=300_000))]
    pub jwt_leeway: Duration,

    /// Claim with the caller's name
    #[arg(long, env = "JWT_NAME_CLAIM", default_value = "sub",
          value_parser = checked("JWT_NAME_CLAIM", described::<ClaimPath>))]
    pub jwt_name_claim: ClaimPath,

    /// Claim with the caller's roles, as a list or a string with spaces between them; /a/b: claim b in the object a
    #[arg(long, env = "JWT_ROLES_CLAIM", default_value = "roles",
          value_parser = checked("JWT_ROLES_CLAIM", described::<ClaimPath>))]
    pub jwt_roles_claim: ClaimPath,

    /// Prefix of this server's roles in that claim, such as tara-export/; other roles are ignored
    #[arg(long, env = "JWT_ROLE_PREFIX", value_parser = optional("JWT_ROLE_PREFIX", any_text))]
    pub jwt_role_prefix: Option<Optional<String>>,

    /// Roles of the values in that claim, as JSON: {"auditors": "read", "operators": ["export", "read"]}; unset: the
    /// claim has the names of roles
    #[arg(long, env = "JWT_ROLE_MAP", value_parser = optional("JWT_ROLE_MAP", described::<RoleMap>))]
    pub jwt_role_map: Option<Optional<RoleMap>>,

    /// Claims that every JWT must have, each with its allowed values, as JSON: {"token_use": "access"}
    #[arg(long, env = "JWT_REQUIRED_CLAIMS",
          value_parser = optional("JWT_REQUIRED_CLAIMS", described::<RequiredClaims>))]
    pub jwt_required_claims: Option<Optional<RequiredClaims>>,

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
            jwt_issuer: Vec::new(),
            jwt_audience: Vec::new(),
            jwt_audience_claim: ClaimPath::named("aud"),
            jwt_jwks_file: None,
            jwt_jwks_url: None,
            jwt_jwks_refresh: Duration::from_secs(300),
            jwt_jwks_ca_file: None,
            jwt_jwks_token_file: None,
            jwt_leeway: Duration::from_secs(30),
            jwt_name_claim: ClaimPath::named("sub"),
            jwt_roles_claim: ClaimPath::named("roles"),
            jwt_role_prefix: None,
            jwt_role_map: None,
            jwt_required_claims: None,
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
            || !values(&self.jwt_issuer).is_empty()
            || value(&self.tls_client_ca_file).is_some()
    }

    /// The allowed hosts of requests besides loopback names and the bind address. `None` if all hosts are allowed: a
    /// page of another host has no token, and over TLS its browser rejects this server's certificate.
    pub fn host_check(&self) -> Option<Vec<HostPattern>> {
        let allowed = values(&self.allowed_hosts);
        (!allowed.is_empty() || !self.has_authentication()).then_some(allowed)
    }

    /// A warning for each claim whose name looks like the dotted path of a nested claim.
    pub fn claim_warnings(&self) -> Vec<String> {
        let claims = [
            ("JWT_AUDIENCE_CLAIM", &self.jwt_audience_claim),
            ("JWT_NAME_CLAIM", &self.jwt_name_claim),
            ("JWT_ROLES_CLAIM", &self.jwt_roles_claim),
        ];
        let dotted = claims.into_iter().filter(|(_, path)| path.looks_dotted());
        dotted
            .map(|(setting, path)| {
                let nested = path.to_string().replace('.', "/");
                format!(
                    "{setting}: {path} is the name of one claim; if it is nested in an object, write /{nested}"
                )
            })
            .collect()
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
        self.check_jwt()?;
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

    fn check_jwt(&self) -> Result<(), String> {
        let (issuers, audiences) = (values(&self.jwt_issuer), values(&self.jwt_audience));
        let (file, url) = (value(&self.jwt_jwks_file), value(&self.jwt_jwks_url));
        let has_access_files =
            value(&self.jwt_jwks_ca_file).is_some() || value(&self.jwt_jwks_token_file).is_some();
        if issuers.is_empty() != audiences.is_empty() {
            return Err(
                "JWT_ISSUER and JWT_AUDIENCE require each other: set both or neither".to_owned()
            );
        }
        if issuers.is_empty() && (file.is_some() || url.is_some() || has_access_files) {
            return Err(
                "JWT_JWKS_FILE, JWT_JWKS_URL, JWT_JWKS_CA_FILE and JWT_JWKS_TOKEN_FILE require JWT_ISSUER and \
                 JWT_AUDIENCE"
                    .to_owned(),
            );
        }
        if issuers.len() > ISSUERS_LIMIT || audiences.len() > AUDIENCES_LIMIT {
            return Err(format!(
                "JWT_ISSUER has {} issuers and JWT_AUDIENCE {} audiences, but at most {ISSUERS_LIMIT} and \
                 {AUDIENCES_LIMIT} are allowed",
                issuers.len(),
                audiences.len()
            ));
        }
        if file.is_some() && url.is_some() {
            return Err(
                "JWT_JWKS_FILE and JWT_JWKS_URL exclude each other: set one, or neither to find the keys from \
                 JWT_ISSUER"
                    .to_owned(),
            );
        }
        if file.is_some() && has_access_files {
            return Err(
                "JWT_JWKS_CA_FILE and JWT_JWKS_TOKEN_FILE are for keys that are fetched: unset JWT_JWKS_FILE, or unset \
                 them"
                    .to_owned(),
            );
        }
        if let Some(issuer) = issuers.first()
            && file.is_none()
            && url.is_none()
            && !is_issuer_url(issuer)
        {
            return Err(format!(
                "JWT_ISSUER {issuer} is neither an https:// URL nor an http:// URL of a loopback host, so its keys \
                 cannot be found from it: set JWT_JWKS_URL or JWT_JWKS_FILE"
            ));
        }
        if value(&self.jwt_role_prefix).is_some() && value(&self.jwt_role_map).is_some() {
            return Err(
                "JWT_ROLE_PREFIX and JWT_ROLE_MAP exclude each other: the map has the complete values".to_owned()
            );
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
            (&["--jwt-jwks-ca-file", "f"], "JWT_ISSUER"),
            (&["--jwt-issuer", "i", "--jwt-audience", "a"], "JWT_JWKS_FILE"),
            (&["--jwt-issuer", "http://id.example", "--jwt-audience", "a"], "JWT_JWKS_URL"),
            (&["--jwt-issuer", "i,https://id.example", "--jwt-audience", "a"], "JWT_ISSUER i is"),
            (
                &[
                    "--jwt-issuer",
                    "i",
                    "--jwt-audience",
                    "a",
                    "--jwt-jwks-file",
                    "f",
                    "--jwt-jwks-token-file",
                    "t",
                ],
                "JWT_JWKS_TOKEN_FILE are for keys that are fetched",
            ),
            (
                &[
                    "--jwt-issuer",
                    "https://id.example",
                    "--jwt-audience",
                    "a",
                    "--jwt-role-prefix",
                    "p",
                    "--jwt-role-map",
                    r#"{"a": "read"}"#,
                ],
                "JWT_ROLE_PREFIX and JWT_ROLE_MAP exclude",
            ),
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
                "exclude each other",
            ),
        ] {
            let message = check("127.0.0.1", arguments).unwrap_err();
            assert!(message.contains(part), "{arguments:?}: {message}");
        }
    }

    #[test]
    fn keys_are_found_from_the_issuer_or_configured() {
        for arguments in [
            &["--jwt-issuer", "https://id.example,id.example", "--jwt-audience", "a,b"][..],
            &["--jwt-issuer", "http://127.0.0.1:1/x", "--jwt-audience", "a"],
            &["--jwt-issuer", "i", "--jwt-audience", "a", "--jwt-jwks-url", "https://x/y"],
            &["--jwt-issuer", "i", "--jwt-audience", "a", "--jwt-jwks-file", "f"],
        ] {
            check("127.0.0.1", arguments).unwrap();
        }
        let many = ["https://id.example"; ISSUERS_LIMIT + 1].join(",");
        let message = check("127.0.0.1", &["--jwt-issuer", &many, "--jwt-audience", "a"]);
        assert!(message.unwrap_err().contains("at most 10"));
    }

    #[test]
    fn dotted_claim_has_a_warning() {
        let warnings = |arguments: &[&str]| {
            let parsed = Arguments::try_parse_from([&["tara-export"], arguments].concat()).unwrap();
            parsed.security.claim_warnings()
        };
        let found = warnings(&["--jwt-roles-claim", "realm_access.roles"]);
        assert!(
            found[0].starts_with("JWT_ROLES_CLAIM") && found[0].ends_with("/realm_access/roles")
        );
        for claim in ["roles", "/realm_access/roles", "https://example.com/roles", "cognito:groups"]
        {
            assert_eq!(warnings(&["--jwt-roles-claim", claim]), [""; 0]);
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
