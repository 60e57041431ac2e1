//! The proxies of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use super::Environment;

/// Addresses of the metadata services of EC2, ECS and EKS, which no proxy can reach.
const METADATA_HOSTS: &str =
    "169.254.169.254,169.254.170.2,169.254.170.23,fd00:ec2::254,fd00:ec2::23";

/// Loopback addresses.
const LOOPBACK_HOSTS: &str = "localhost,127.0.0.0/8,::1";

/// The proxies of outgoing connections.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    direct_hosts: String,
    warnings: Vec<String>,
}

// Without the URLs: they can contain passwords.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("direct_hosts", &self.direct_hosts)
            .finish()
    }
}

impl Proxies {
    /// The proxies that the environment names. Of two spellings of a variable, the lower-case one wins, as in
    /// curl and boto3. A proxy that cannot be used becomes a warning.
    pub fn of(environment: &Environment) -> Self {
        let mut warnings = Vec::new();
        let mut proxy = |names: [&'static str; 2]| {
            let (name, text) = first(environment, names)?;
            match proxy_url(text) {
                Ok(url) => Some(url),
                Err(reason) => {
                    warnings.push(format!("{name} is not used: {reason}"));
                    None
                }
            }
        };
        let (http, https) =
            (proxy(["http_proxy", "HTTP_PROXY"]), proxy(["https_proxy", "HTTPS_PROXY"]));
        let all = proxy(["all_proxy", "ALL_PROXY"]);
        let no_proxy = first(environment, ["no_proxy", "NO_PROXY"]).map_or("", |(_, text)| text);
        let mut direct_hosts: Vec<&str> =
            no_proxy.split([',', ' ']).map(direct_host).filter(|host| !host.is_empty()).collect();
        direct_hosts.push(METADATA_HOSTS);
        Self {
            http: http.or_else(|| all.clone()),
            https: https.or(all),
            direct_hosts: direct_hosts.join(","),
            warnings,
        }
    }

    /// The same proxies, but loopback hosts are connected to directly.
    #[must_use]
    pub fn except_loopback(mut self) -> Self {
        self.direct_hosts = format!("{},{LOOPBACK_HOSTS}", self.direct_hosts);
        self
    }

    /// The URL of the proxy for `http://` destinations.
    pub fn http(&self) -> Option<&str> {
        self.http.as_deref()
    }

    /// The URL of the proxy for `https://` destinations.
    pub fn https(&self) -> Option<&str> {
        self.https.as_deref()
    }

    /// The hosts without a proxy, separated by commas.
    pub fn direct_hosts(&self) -> &str {
        &self.direct_hosts
    }

    /// The variables that cannot be used, each with the reason.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The rules, for one destination after another.
    pub(super) fn matcher(&self) -> Matcher {
        let url = |proxy: Option<&str>| proxy.unwrap_or_default().to_owned();
        Matcher::builder()
            .http(url(self.http()))
            .https(url(self.https()))
            .no(self.direct_hosts.clone())
            .build()
    }
}

fn first<'a>(
    environment: &'a Environment,
    names: [&'static str; 2],
) -> Option<(&'static str, &'a str)> {
    names.iter().find_map(|name| Some((*name, environment.get(name)?.trim())))
}

/// An entry of `NO_PROXY` in the form that the matcher reads: without a port, brackets and `*.`.
fn direct_host(entry: &str) -> &str {
    let entry = entry.trim();
    if let Some((address, _)) = entry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address;
    }
    if entry.parse::<IpAddr>().is_ok() {
        return entry;
    }
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let host = match entry.rsplit_once(':') {
        Some((host, port)) if is_port(port) && !host.contains(':') => host,
        _ => entry,
    };
    host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host)
}

/// A proxy's URL with its scheme. The error does not contain the URL, which can have a password.
fn proxy_url(text: &str) -> Result<String, &'static str> {
    const INVALID: &str = "it must be a URL such as http://proxy.example.com:3128";
    let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = url.parse().map_err(|_| INVALID)?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(url),
        (Some("http" | "https"), _) => Err(INVALID),
        _ => {
            Err("only proxies with http:// and https:// URLs are supported; connections are direct")
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(&variables.iter().copied().collect())
    }

    /// The proxy for a destination, or `direct`.
    fn route(proxies: &Proxies, destination: &str) -> String {
        let proxy = proxies.matcher().intercept(&destination.parse().unwrap());
        proxy.map_or_else(|| "direct".to_owned(), |proxy| proxy.uri().to_string())
    }

    #[test]
    fn each_scheme_has_its_proxy_and_all_proxy_is_the_default() {
        let both = proxies(&[("HTTP_PROXY", "http://plain:1"), ("HTTPS_PROXY", "secure:2")]);
        assert_eq!(route(&both, "http://s3.example.com/"), "http://plain:1/");
        assert_eq!(route(&both, "https://s3.example.com/"), "http://secure:2/");
        let one = proxies(&[("ALL_PROXY", "https://all:1"), ("https_proxy", "http://secure:2")]);
        assert_eq!(route(&one, "http://s3.example.com/"), "https://all:1/");
        assert_eq!(route(&one, "https://s3.example.com/"), "http://secure:2/");
    }

    #[test]
    fn lower_case_wins_and_empty_is_unset() {
        let lower = proxies(&[("HTTP_PROXY", "http://upper:1"), ("http_proxy", "http://lower:1")]);
        assert_eq!(route(&lower, "http://s3.example.com/"), "http://lower:1/");
        let empty = proxies(&[("HTTP_PROXY", "http://upper:1"), ("http_proxy", "")]);
        assert_eq!(route(&empty, "http://s3.example.com/"), "http://upper:1/");
        assert_eq!(route(&proxies(&[("HTTP_PROXY", "")]), "http://a/"), "direct");
    }

    #[test]
    fn no_proxy_names_hosts_domains_networks_and_ports() {
        let list =
            "one.example, .two.example,*.three.example,four.example:9000 10.0.0.0/8,[fd00::1]:9000";
        let proxies = proxies(&[("HTTP_PROXY", "http://proxy:1"), ("NO_PROXY", list)]);
        let direct = [
            "one.example",
            "a.one.example",
            "a.two.example",
            "a.three.example",
            "four.example:9000",
            "10.1.2.3",
            "[fd00::1]",
            "169.254.169.254",
            "[fd00:ec2::254]",
        ];
        for host in direct {
            assert_eq!(route(&proxies, &format!("http://{host}/")), "direct", "{host}");
        }
        for host in ["example", "notone.example", "11.0.0.1", "127.0.0.1", "localhost"] {
            assert_eq!(route(&proxies, &format!("http://{host}/")), "http://proxy:1/", "{host}");
        }
        let except = proxies.except_loopback();
        for host in ["127.0.0.1", "localhost", "[::1]"] {
            assert_eq!(route(&except, &format!("http://{host}/")), "direct", "{host}");
        }
    }

    #[test]
    fn all_hosts_are_direct_with_an_asterisk() {
        let proxies = proxies(&[("HTTP_PROXY", "http://proxy:1"), ("no_proxy", "*")]);
        assert_eq!(route(&proxies, "http://s3.example.com/"), "direct");
    }

    #[test]
    fn unusable_proxy_is_a_warning_without_its_password() {
        for url in
            ["socks5://user:secret@proxy:1", "http://user:secret@", "http://[:secret", "::secret::"]
        {
            let proxies = proxies(&[("HTTPS_PROXY", url)]);
            assert_eq!(route(&proxies, "https://s3.example.com/"), "direct", "{url}");
            let warning = proxies.warnings().first().unwrap();
            assert!(warning.starts_with("HTTPS_PROXY is not used: "), "{warning}");
            assert!(!warning.contains("secret"), "{warning}");
        }
    }
}
