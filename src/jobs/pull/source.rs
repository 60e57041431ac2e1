//! The source of a `pull` job: one GET for each page.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use http::{HeaderValue, Request, StatusCode, header};
use tara_export_disk::small_file;
use tara_export_jobs::Pull;
use tara_export_outbound::{CheckedClient, CheckedUrl, ExchangeError, HostNames};
use tokio::time::Instant;

use crate::jobs::Outbound;

/// Maximum size of the file with the token.
const TOKEN_LIMIT_BYTES: u64 = 16 * 1024;
/// The name of this program in requests.
const USER_AGENT: &str = concat!("tara-export/", env!("CARGO_PKG_VERSION"));
const JSON: &str = "application/json";

/// Gets pages from a URL.
#[derive(Debug)]
pub(in crate::jobs) struct Source {
    client: CheckedClient,
    path: String,
}

impl Source {
    /// The source of these settings.
    ///
    /// # Errors
    /// What is wrong with the URL, without its text.
    pub(in crate::jobs) fn new(settings: &Pull, outbound: &Outbound) -> Result<Self, String> {
        if settings.url.contains(['?', '#']) {
            return Err("must have no query and no fragment".to_owned());
        }
        let url = CheckedUrl::parse(&settings.url, settings.private_network, HostNames::Shown)?;
        let path = url.uri().path().to_owned();
        let Outbound { resolver, proxies, authorities } = outbound;
        let client = CheckedClient::new(url, resolver.clone(), proxies, authorities)?;
        Ok(Self { client, path })
    }

    /// Gets the page of sessions that were completed at this time or later.
    ///
    /// # Errors
    /// What failed, and which setting to check.
    pub(super) async fn page(
        &self,
        settings: &Pull,
        token: Option<HeaderValue>,
        after: DateTime<Utc>,
        limit_bytes: usize,
    ) -> Result<Bytes, String> {
        let request = self.request(token, after, settings.limit)?;
        let deadline = Instant::now() + settings.timeout;
        let response = self.client.fetch(request, limit_bytes, deadline).await;
        let response = response.map_err(|error| self.no_response(&error, settings.timeout))?;
        let host = self.client.url();
        let advice = match response.status() {
            StatusCode::OK => {
                check_content(response.headers()).map_err(|fault| {
                    format!("{host}: {fault}: check \"url\" and the review application")
                })?;
                return Ok(response.into_body());
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                "the source refused the token: check \"token_file\""
            }
            status if status.is_redirection() => {
                "redirects are not followed: set \"url\" to the address that it redirects to"
            }
            StatusCode::TOO_MANY_REQUESTS => "the source is busy: let the job run less often",
            status if status.is_server_error() => {
                "the source failed: its log has the reason; the next run continues"
            }
            _ => "this is not the source of the contract: check \"url\"",
        };
        Err(format!("{host}: status {}: {advice}", response.status().as_u16()))
    }

    fn request(
        &self,
        token: Option<HeaderValue>,
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Request<http_body_util::Full<Bytes>>, String> {
        // In UTC, RFC 3339 has only characters that a query may contain.
        let after = after.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let mut request =
            Request::get(format!("{}?completed_after={after}&limit={limit}", self.path))
                .header(header::USER_AGENT, USER_AGENT)
                .header(header::ACCEPT, JSON);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        request
            .body(http_body_util::Full::default())
            .map_err(|_| "\"url\" contains characters that must be escaped".to_owned())
    }

    fn no_response(&self, error: &ExchangeError, timeout: Duration) -> String {
        let host = self.client.url();
        match error {
            ExchangeError::TimedOut => format!(
                "{host}: no complete response within {}: check \"url\" and the review application, lower \"limit\", or \
                 raise \"timeout\"",
                humantime::format_duration(timeout)
            ),
            ExchangeError::TooLarge(limit_bytes) => format!(
                "{host}: the page has more than {limit_bytes} bytes (MAX_REQUEST_SIZE): lower \"limit\", or raise \
                 MAX_REQUEST_SIZE"
            ),
            ExchangeError::Failed(message) => {
                format!("{host}: {message}: check \"url\", and whether the review application runs")
            }
        }
    }
}

/// Only JSON as it is.
fn check_content(headers: &http::HeaderMap) -> Result<(), String> {
    let text = |name| headers.get(name).map_or("", |value| value.to_str().unwrap_or("not a text"));
    let media_type = text(header::CONTENT_TYPE);
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(JSON) {
        let shown: String = essence.chars().take(80).collect();
        return Err(format!("the response has the content type {shown:?} instead of {JSON}"));
    }
    match text(header::CONTENT_ENCODING) {
        "" | "identity" => Ok(()),
        _ => Err("the response is compressed, although the request does not ask for it".to_owned()),
    }
}

/// The value of `Authorization` with the token in this file. Blocks the thread.
///
/// # Errors
/// What is wrong with the file; contains nothing of it.
pub(in crate::jobs) fn read_token(file: &Path) -> Result<HeaderValue, String> {
    let unreadable =
        |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", file.display());
    // A named pipe would block forever.
    match file.metadata() {
        Ok(metadata) if metadata.is_file() => {}
        Ok(_) => return Err(unreadable(&"it is not a file")),
        Err(error) => return Err(unreadable(&error)),
    }
    let bytes = small_file::read(file, TOKEN_LIMIT_BYTES).map_err(|error| unreadable(&error))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable(&"it is not UTF-8"))?;
    let token = text.trim();
    if token.is_empty() || token.contains(|character: char| !character.is_ascii_graphic()) {
        return Err(unreadable(&"it must have one line with the token"));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| unreadable(&"it must have one line with the token"))?;
    value.set_sensitive(true);
    Ok(value)
}
