//! URLs of services, as settings name them.

use http::Uri;

/// What [`is_endpoint_url`] accepts, for messages.
pub const ENDPOINT_RULE: &str =
    "an http:// or https:// URL with a host, without credentials, query and fragment";

/// Whether requests can be sent to a URL. It may have a path.
pub fn is_endpoint_url(text: &str) -> bool {
    text.parse::<Uri>().is_ok_and(|uri| {
        let has_credentials =
            uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.query().is_none()
            && !has_credentials
            && !text.contains('#')
    })
}
