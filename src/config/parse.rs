//! Parsers of settings. Each error describes the allowed values.

use std::{
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use ipnet::{IpNet, Ipv4Net};
use tara_export_auth::is_issuer_url;
use tara_export_catalog::layout::JournalLocation;
use tara_export_notify::AllowedRecipients;
use tara_export_store::{
    AllowedSource,
    s3::{ObjectLockMode, RequestPrices, S3Settings, ServerSideEncryption},
};
use tracing_subscriber::filter::LevelFilter;

use super::{LogFormat, Optional, StreamTime, TrustedProxy};
use crate::host::HostPattern;

pub(super) type Parsed<T> = Result<T, String>;

/// A parser whose errors name the variable and the allowed values. Clap adds the invalid value.
pub(super) fn checked<T>(
    variable: &'static str,
    parse: fn(&str) -> Parsed<T>,
) -> impl Fn(&str) -> Parsed<T> + Clone + Send + Sync + 'static
where
    T: 'static,
{
    move |text| parse(text).map_err(|allowed| format!("{variable} must be {allowed}"))
}

pub(super) fn optional<T>(
    variable: &'static str,
    parse: fn(&str) -> Parsed<T>,
) -> impl Fn(&str) -> Parsed<Optional<T>> + Clone + Send + Sync + 'static
where
    T: 'static,
{
    let parse = checked(variable, parse);
    move |text| {
        if text.trim().is_empty() { Ok(Optional(None)) } else { Ok(Optional(Some(parse(text)?))) }
    }
}

pub(super) fn number(
    variable: &'static str,
    range: RangeInclusive<u32>,
) -> impl Fn(&str) -> Parsed<u32> + Clone + Send + Sync + 'static {
    move |text| {
        let number = u32::from_str(text).ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            format!("{variable} must be a whole number from {} to {}", range.start(), range.end())
        })
    }
}

pub(super) fn duration(
    variable: &'static str,
    range_ms: RangeInclusive<u64>,
) -> impl Fn(&str) -> Parsed<Duration> + Clone + Send + Sync + 'static {
    let shortest = Duration::from_millis(*range_ms.start());
    let longest = Duration::from_millis(*range_ms.end());
    move |text| {
        let parsed = humantime::parse_duration(text).ok();
        parsed.filter(|duration| (shortest..=longest).contains(duration)).ok_or_else(|| {
            let (shortest, longest) = (humantime::format_duration(shortest), humantime::format_duration(longest));
            format!("{variable} must be a duration with a unit, such as 500ms or 10s, from {shortest} to {longest}")
        })
    }
}

pub(super) fn stream_time(
    variable: &'static str,
) -> impl Fn(&str) -> Parsed<StreamTime> + Clone + Send + Sync + 'static {
    let limit = duration(variable, 1_000..=86_400_000);
    move |text| match humantime::parse_duration(text) {
        Ok(Duration::ZERO) => Ok(StreamTime::UNLIMITED),
        _ => limit(text)
            .map(|limit| StreamTime(Some(limit)))
            .map_err(|message| format!("{message}, or 0s for no limit")),
    }
}

pub(super) fn size(
    variable: &'static str,
    range: RangeInclusive<u64>,
) -> impl Fn(&str) -> Parsed<ByteSize> + Clone + Send + Sync + 'static {
    move |text| {
        let size = ByteSize::from_str(text).ok().filter(|size| range.contains(&size.as_u64()));
        size.ok_or_else(|| {
            let (smallest, largest) = (ByteSize(*range.start()), ByteSize(*range.end()));
            format!("{variable} must be a size such as 32MiB, from {smallest} to {largest}")
        })
    }
}

/// Appends a slash to the prefix, because `docs` must not allow `docs-of-others`.
pub(super) fn source(text: &str) -> Parsed<AllowedSource> {
    let allowed = || {
        "an S3 location such as s3://bucket or s3://bucket/prefix/, without empty parts, . and .."
            .to_owned()
    };
    let path = text.trim().strip_prefix("s3://").ok_or_else(allowed)?;
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let bucket = bucket_name(bucket).map_err(|_| allowed())?;
    let parts = prefix.strip_suffix('/').unwrap_or(prefix);
    if parts.is_empty() {
        return if prefix.is_empty() {
            Ok(AllowedSource { bucket, prefix: String::new() })
        } else {
            Err(allowed())
        };
    }
    match parts.split('/').all(|part| !matches!(part, "" | "." | "..")) {
        true => Ok(AllowedSource { bucket, prefix: format!("{parts}/") }),
        false => Err(allowed()),
    }
}

pub(super) fn recipients(text: &str) -> Parsed<AllowedRecipients> {
    AllowedRecipients::parse(text).map_err(|error| error.to_string())
}

pub(super) fn boolean(text: &str) -> Parsed<bool> {
    match text {
        "true" | "1" | "yes" => Ok(true),
        "false" | "0" | "no" | "" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// Amazon S3 User Guide, "General purpose bucket naming rules"; other servers allow capitals and
/// underscores too.
pub(super) fn bucket_name(text: &str) -> Parsed<String> {
    let is_valid = (3..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && text.starts_with(|first: char| first.is_ascii_alphanumeric());
    is_valid.then(|| text.to_owned()).ok_or_else(|| {
        "a bucket name of 3 to 63 letters, digits, dots and hyphens, without s3://".to_owned()
    })
}

pub(super) fn base_path(text: &str) -> Parsed<String> {
    let trimmed = text.trim_matches('/');
    let is_valid = trimmed.len() <= 100
        && !text.chars().any(|character| character.is_control() || character == '\\')
        && (trimmed.is_empty()
            || trimmed.split('/').all(|part| !part.is_empty() && part != "." && part != ".."));
    let normal = if trimmed.is_empty() { String::new() } else { format!("{trimmed}/") };
    is_valid.then_some(normal).ok_or_else(|| {
        "a path of at most 100 bytes such as tara/, without empty parts, `.`, `..` and control characters".to_owned()
    })
}

pub(super) fn region(text: &str) -> Parsed<String> {
    let text = text.trim();
    S3Settings::is_region(text)
        .then(|| text.to_owned())
        .ok_or_else(|| S3Settings::REGION_RULE.to_owned())
}

pub(super) fn endpoint_url(text: &str) -> Parsed<String> {
    let text = text.trim();
    S3Settings::is_endpoint_url(text)
        .then(|| text.to_owned())
        .ok_or_else(|| S3Settings::ENDPOINT_RULE.to_owned())
}

pub(super) fn encryption(text: &str) -> Parsed<ServerSideEncryption> {
    match text {
        "bucket" => Ok(ServerSideEncryption::BucketDefault),
        "AES256" => Ok(ServerSideEncryption::SseS3),
        "aws:kms" => Ok(ServerSideEncryption::SseKms { key_id: None }),
        _ => Err("bucket (the bucket's default), AES256 or aws:kms".to_owned()),
    }
}

pub(super) fn journal(text: &str) -> Parsed<JournalLocation> {
    match text {
        "local" => Ok(JournalLocation::Local),
        "store" => Ok(JournalLocation::Store),
        _ => Err("local or store".to_owned()),
    }
}

pub(super) fn account(text: &str) -> Parsed<String> {
    let is_valid = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_valid.then(|| text.to_owned()).ok_or_else(|| "an AWS account id of twelve digits".to_owned())
}

pub(super) fn lock_mode(text: &str) -> Parsed<ObjectLockMode> {
    match text.to_ascii_lowercase().as_str() {
        "governance" => Ok(ObjectLockMode::Governance),
        "compliance" => Ok(ObjectLockMode::Compliance),
        _ => Err("governance or compliance".to_owned()),
    }
}

pub(super) fn keys_url(text: &str) -> Parsed<String> {
    is_issuer_url(text)
        .then(|| text.to_owned())
        .ok_or_else(|| "an https:// URL, or an http:// URL of a loopback host".to_owned())
}

/// A part of a list. Entra's names of "any tenant" are no issuer of a token.
pub(super) fn issuer(text: &str) -> Parsed<String> {
    let text = text.trim();
    let mut parts = text.split('/').skip(2);
    let (host, tenant) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let is_any_tenant = (host.contains("microsoftonline.") || host.ends_with(".windows.net"))
        && ["common", "organizations", "consumers"]
            .iter()
            .any(|name| tenant.eq_ignore_ascii_case(name));
    let is_valid = text.len() <= 1024
        && !text.chars().any(|character| character.is_control() || "{}".contains(character))
        && !is_any_tenant;
    is_valid.then(|| text.to_owned()).ok_or_else(|| {
        "the issuers of one provider, separated by commas, exactly as in iss, of at most 1024 bytes each; of Entra, \
         the issuer of each allowed tenant, with its id instead of common, organizations or {tenantid}"
            .to_owned()
    })
}

/// A part of a list.
pub(super) fn audience(text: &str) -> Parsed<String> {
    let text = text.trim();
    let is_valid = text.len() <= 1024 && !text.chars().any(char::is_control);
    is_valid
        .then(|| text.to_owned())
        .ok_or_else(|| "audiences, separated by commas, of at most 1024 bytes each".to_owned())
}

/// A type of another crate whose error describes the allowed values.
pub(super) fn described<T: FromStr<Err: ToString>>(text: &str) -> Parsed<T> {
    text.trim().parse().map_err(|error: T::Err| error.to_string())
}

pub(super) fn file(text: &str) -> Parsed<PathBuf> {
    Ok(PathBuf::from(text))
}

pub(super) fn any_text(text: &str) -> Parsed<String> {
    Ok(text.to_owned())
}

pub(super) fn data_dir(text: &str) -> Parsed<PathBuf> {
    if text.is_empty() { Err("the path of a folder".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn replica_name(text: &str) -> Parsed<String> {
    let is_valid = text.len() <= 255 && text.chars().all(|character| !character.is_control());
    is_valid.then(|| text.to_owned()).ok_or_else(|| "a name of at most 255 bytes".to_owned())
}

pub(super) fn worker_threads(text: &str) -> Parsed<usize> {
    let number = text.parse().ok().filter(|number| (1..=1_024).contains(number));
    number.ok_or_else(|| "a whole number from 1 to 1024".to_owned())
}

pub(super) fn ip_address(text: &str) -> Parsed<IpAddr> {
    text.parse().map_err(|_| "an IP address such as 127.0.0.1, 0.0.0.0 or ::".to_owned())
}

/// The system's limit is 107 bytes on Linux and 103 on macOS, and the socket gets a suffix while it is created.
const SOCKET_PATH_LIMIT_BYTES: usize = 100;

/// The prefix `unix:`, as in the addresses of clients, is optional.
pub(super) fn socket_path(text: &str) -> Parsed<PathBuf> {
    let text = text.trim();
    let path = text.strip_prefix("unix://").or_else(|| text.strip_prefix("unix:")).unwrap_or(text);
    let is_valid = (1..=SOCKET_PATH_LIMIT_BYTES).contains(&path.len())
        && !path.ends_with('/')
        && !path.starts_with('@')
        && !path.contains('\0');
    is_valid.then(|| PathBuf::from(path)).ok_or_else(|| {
        "the path of a socket such as /run/tara-export/server.sock, of at most 100 bytes".to_owned()
    })
}

pub(super) fn file_mode(text: &str) -> Parsed<u32> {
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = is_octal.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| "octal permissions such as 600, 660 or 666".to_owned())
}

/// Parses an address as a network of one address.
pub(super) fn proxy(text: &str) -> Parsed<TrustedProxy> {
    let text = text.trim();
    if text == "unix" {
        return Ok(TrustedProxy::Unix);
    }
    let address = text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
    let network = address.ok().or_else(|| text.parse().ok().map(canonical));
    // If every peer were trusted, every client could choose its address.
    let network = network.filter(|network| network.prefix_len() > 0);
    network.map(TrustedProxy::Network).ok_or_else(|| {
        "IP addresses and networks such as 10.0.0.0/8 or 2001:db8::7, with prefixes of more than 0 bits, or unix"
            .to_owned()
    })
}

/// Converts a network of IPv4-mapped IPv6 addresses to the IPv4 network.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network {
        IpNet::V6(network) => network.prefix_len().checked_sub(96).and_then(|bits| {
            Some(IpNet::from(Ipv4Net::new(network.addr().to_ipv4_mapped()?, bits).ok()?))
        }),
        IpNet::V4(_) => None,
    };
    mapped.unwrap_or(network)
}

pub(super) fn host(text: &str) -> Parsed<HostPattern> {
    text.trim().parse().map_err(|_| {
        "hosts such as export.example.com, .example.com (the domain and its subdomains), 192.0.2.7 or [2001:db8::7], \
         each with or without a port, or *; non-ASCII names in the form xn--…"
            .to_owned()
    })
}

pub(super) fn origin(text: &str) -> Parsed<String> {
    let is_valid = text == "*"
        || text.parse::<http::Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some()
                && !text.ends_with('/')
        });
    is_valid
        .then(|| text.to_owned())
        .ok_or_else(|| "origins such as https://review.example.com, or *".to_owned())
}

/// Returns the name in lower case.
pub(super) fn header_name(text: &str) -> Parsed<String> {
    let text = text.trim();
    let name = text.parse::<http::HeaderName>().map(|name| name.as_str().to_owned());
    name.map_err(|_| "names of headers such as x-tenant, or *".to_owned())
}

/// A directive without a level must be one: `warning` would be the name of a target, and nothing else would be logged.
pub(super) fn log_filter(text: &str) -> Parsed<String> {
    let expected = "a level (error, warn, info, debug, trace or off), or a log filter such as info,aws_sdk_s3=debug";
    let directives = text.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    for level in directives.filter(|directive| !directive.contains(['=', '['])) {
        level.parse::<LevelFilter>().map_err(|_| format!("{expected} ({level:?} is no level)"))?;
    }
    let filter = text.parse::<tracing_subscriber::EnvFilter>();
    filter.map(|_| text.to_owned()).map_err(|error| format!("{expected} ({error})"))
}

pub(super) fn log_format(text: &str) -> Parsed<LogFormat> {
    match text {
        "auto" => Ok(LogFormat::Auto),
        "human" => Ok(LogFormat::Human),
        "json" => Ok(LogFormat::Json),
        _ => Err("auto, human or json".to_owned()),
    }
}

pub(super) fn socket_address(text: &str) -> Parsed<SocketAddr> {
    text.parse()
        .map_err(|_| "an IP address and a port, such as 127.0.0.1:9464 or 0.0.0.0:9464".to_owned())
}

/// CloudWatch reserves `AWS/` (CloudWatch API Reference, PutMetricData).
pub(super) fn namespace(text: &str) -> Parsed<String> {
    let is_valid = text.len() <= 255
        && !text.starts_with("AWS/")
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_/#:".contains(&byte));
    is_valid.then(|| text.to_owned()).ok_or_else(|| {
        "a name such as TaraExport, of letters, digits and . - _ / # :, that does not start with AWS/"
            .to_owned()
    })
}

pub(super) fn otlp_url(text: &str) -> Parsed<String> {
    let uri = text.parse::<http::Uri>().ok();
    let is_valid = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    is_valid
        .then(|| text.to_owned())
        .ok_or_else(|| "an http:// or https:// URL such as http://127.0.0.1:4317".to_owned())
}

pub(super) fn ratio(text: &str) -> Parsed<f64> {
    let number = text.parse().ok().filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| "a number from 0 to 1, such as 0.01".to_owned())
}

pub(super) fn prices(text: &str) -> Parsed<RequestPrices> {
    let allowed = || {
        "prices in US dollars for a thousand requests of each kind, from 0 to 1000, such as \
         put=0.005,get=0.0004,delete=0"
            .to_owned()
    };
    let (mut put, mut get, mut delete) = (None, None, None);
    for part in text.split(',') {
        let (kind, price) = part.trim().split_once('=').ok_or_else(allowed)?;
        let price: f64 = price.parse().map_err(|_| allowed())?;
        if !(0.0..=1000.0).contains(&price) {
            return Err(allowed());
        }
        let kind = match kind {
            "put" => &mut put,
            "get" => &mut get,
            "delete" => &mut delete,
            _ => return Err(allowed()),
        };
        if kind.replace(price).is_some() {
            return Err(allowed());
        }
    }
    match (put, get, delete) {
        (Some(put), Some(get), Some(delete)) => Ok(RequestPrices { put, get, delete }),
        _ => Err(allowed()),
    }
}
