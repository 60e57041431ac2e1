//! Turns the headers of a call over plain HTTP into those of gRPC. Reads nothing of the body.

use axum::{body::Body, extract::Request};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri, Version,
    header::{
        ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TE,
        TRANSFER_ENCODING,
    },
    uri::PathAndQuery,
};
use percent_encoding::percent_decode;
use prost_reflect::MethodDescriptor;

use super::{Codec, Framing, PlainCall, only_reads, writer::shown};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");
const CONNECT_ENCODING: HeaderName = HeaderName::from_static("connect-content-encoding");
const CONNECT_ACCEPT: HeaderName = HeaderName::from_static("connect-accept-encoding");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The largest timeout in milliseconds that fits into `grpc-timeout`.
const MILLIS_LIMIT: u64 = 99_999_999;

/// Base64 in a query: RFC 4648, section 5, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a request is no call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The HTTP method does not call this method.
    Method,
    /// The content type is not supported by this method.
    ContentType(String),
    /// The HTTP version has no streams in both directions.
    Version,
    /// A header or the query is invalid.
    Invalid(String),
}

fn invalid(message: impl Into<String>) -> Refused {
    Refused::Invalid(message.into())
}

/// Returns the request as a call of gRPC, with [`PlainCall`] in its extensions.
pub(super) fn translated(
    method: &MethodDescriptor,
    mut request: Request,
) -> Result<(Request, PlainCall), Refused> {
    let is_get = request.method() == Method::GET;
    if !(request.method() == Method::POST || is_get && only_reads(method)) {
        return Err(Refused::Method);
    }
    let timeout = timeout(request.headers())?;
    if let Some(version) = request.headers().get(PROTOCOL_VERSION).filter(|version| *version != "1")
    {
        let version = shown(&String::from_utf8_lossy(version.as_bytes()));
        return Err(invalid(format!(
            "the Connect-Protocol-Version {version:?} is not supported: send 1"
        )));
    }
    let (codec, framing, encoding) = if is_get {
        let query = Query::parse(request.uri().query().unwrap_or_default())?;
        *request.body_mut() = Body::from(query.message);
        (query.codec, whole_body(method, query.codec)?, query.encoding)
    } else {
        let (codec, framing) = content_type(method, request.headers())?;
        let name = if framing == Framing::Envelopes { CONNECT_ENCODING } else { CONTENT_ENCODING };
        (codec, framing, request.headers().get(name).cloned())
    };
    let is_duplex = method.is_client_streaming() && method.is_server_streaming();
    if is_duplex && request.version() < Version::HTTP_2 {
        return Err(Refused::Version);
    }
    let accepted = match framing {
        Framing::Unary => accepted(request.headers(), &ACCEPT_ENCODING),
        Framing::Envelopes => accepted(request.headers(), &CONNECT_ACCEPT),
        // Lines are sent as soon as they are complete.
        Framing::Lines => None,
    };
    let headers = request.headers_mut();
    for name in [
        PROTOCOL_VERSION,
        TIMEOUT,
        CONNECT_ENCODING,
        CONNECT_ACCEPT,
        ACCEPT_ENCODING,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
        EXPECT,
        GRPC_TIMEOUT,
        GRPC_ENCODING,
        GRPC_ACCEPT,
    ] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let set = [(GRPC_TIMEOUT, timeout), (GRPC_ENCODING, encoding), (GRPC_ACCEPT, accepted)];
    headers.extend(set.into_iter().filter_map(|(name, value)| Some((name, value?))));
    *request.method_mut() = Method::POST;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = without_query(request.uri());
    let call = PlainCall { method: method.clone(), codec, framing };
    request.extensions_mut().insert(call.clone());
    Ok((request, call))
}

fn without_query(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = uri.path().parse::<PathAndQuery>().ok();
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

/// `grpc-timeout` with the value of `Connect-Timeout-Ms`: at most ten digits.
fn timeout(headers: &HeaderMap) -> Result<Option<HeaderValue>, Refused> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| {
        (1..=10).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    });
    let millis: Option<u64> = digits.and_then(|digits| digits.parse().ok());
    let millis = millis
        .ok_or_else(|| invalid("the Connect-Timeout-Ms is not a number of at most ten digits"))?;
    let text =
        if millis <= MILLIS_LIMIT { format!("{millis}m") } else { format!("{}S", millis / 1000) };
    Ok(HeaderValue::from_str(&text).ok())
}

/// The codec and the framing that a request's content type names.
fn content_type(
    method: &MethodDescriptor,
    headers: &HeaderMap,
) -> Result<(Codec, Framing), Refused> {
    let unsupported = |why: &str| {
        Refused::ContentType(format!("{why}: {} accepts {}", method.full_name(), types_of(method)))
    };
    let mut lines = headers.get_all(CONTENT_TYPE).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(unsupported("the request needs one Content-Type"));
    };
    let text = line.to_str().unwrap_or_default().to_ascii_lowercase();
    let (essence, parameters) = text.split_once(';').unwrap_or((&text, ""));
    // JSON is UTF-8, whose name some clients add.
    let is_utf8 = matches!(parameters.trim(), "" | "charset=utf-8" | "charset=\"utf-8\"");
    let (codec, is_enveloped) = match essence.trim() {
        "application/json" => (Codec::Json, false),
        "application/proto" => (Codec::Proto, false),
        "application/connect+json" => (Codec::Json, true),
        "application/connect+proto" => (Codec::Proto, true),
        _ => return Err(unsupported("the Content-Type is not supported")),
    };
    if !is_utf8 {
        return Err(unsupported("the Content-Type has parameters other than charset=utf-8"));
    }
    if !is_enveloped {
        return Ok((codec, whole_body(method, codec)?));
    }
    if method.is_client_streaming() || method.is_server_streaming() {
        Ok((codec, Framing::Envelopes))
    } else {
        Err(unsupported("the Content-Type is one for streams"))
    }
}

/// The framing of a call whose request is a whole body.
fn whole_body(method: &MethodDescriptor, codec: Codec) -> Result<Framing, Refused> {
    match (method.is_client_streaming(), method.is_server_streaming(), codec) {
        (false, false, _) => Ok(Framing::Unary),
        (false, true, Codec::Json) => Ok(Framing::Lines),
        _ => {
            let (name, types) = (method.full_name(), types_of(method));
            Err(Refused::ContentType(format!("{name} has streams: it accepts {types}")))
        }
    }
}

/// The content types that a method accepts.
pub(super) fn types_of(method: &MethodDescriptor) -> &'static str {
    match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => "application/json and application/proto",
        (false, true) => {
            "application/json (with lines as the response), application/connect+json and \
             application/connect+proto"
        }
        (true, _) => "application/connect+json and application/connect+proto",
    }
}

/// The encodings that the caller accepts, without weights.
fn accepted(headers: &HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let names: Vec<&str> = lines
        .flat_map(|line| line.split(','))
        .filter_map(|item| {
            let (name, weight) = item.split_once(';').unwrap_or((item, "q=1"));
            let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse().ok());
            (weight != Some(0.0)).then(|| name.trim())
        })
        .collect();
    HeaderValue::from_str(&names.join(",")).ok().filter(|value| !value.is_empty())
}

/// The query of a call with GET.
#[derive(Debug)]
struct Query {
    message: Bytes,
    codec: Codec,
    encoding: Option<HeaderValue>,
}

impl Query {
    fn parse(query: &str) -> Result<Self, Refused> {
        let (mut message, mut encoding, mut base64, mut compression) = (None, None, None, None);
        let mut version = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let parameter = match name {
                "message" => &mut message,
                "encoding" => &mut encoding,
                "base64" => &mut base64,
                "compression" => &mut compression,
                "connect" => &mut version,
                // Unknown parameters are ignored (Connect, "Unary-Get-Request").
                _ => continue,
            };
            if parameter.replace(unescaped(value)?).is_some() {
                return Err(invalid(format!("the query has {name} twice")));
            }
        }
        if version.is_some_and(|version| version != b"v1") {
            return Err(invalid("the query has a version (connect) other than v1"));
        }
        let codec = match encoding.as_deref() {
            Some(b"json") => Codec::Json,
            Some(b"proto") => Codec::Proto,
            _ => {
                let message = "the query needs encoding=json or encoding=proto";
                return Err(Refused::ContentType(message.to_owned()));
            }
        };
        let message = message.ok_or_else(|| invalid("the query has no message: {} is empty"))?;
        let message = if base64.is_some_and(|flag| flag == b"1") {
            BASE64
                .decode(message)
                .map_err(|_| invalid("the message in the query is not in base64 for URLs"))?
        } else {
            message
        };
        let encoding = compression
            .map(|name| HeaderValue::from_bytes(&name))
            .transpose()
            .map_err(|_| invalid("the compression in the query is not a name"))?;
        Ok(Self { message: message.into(), codec, encoding })
    }
}

/// Decodes a value of a query.
fn unescaped(value: &str) -> Result<Vec<u8>, Refused> {
    let mut rest = value;
    while let Some(at) = rest.find('%') {
        rest = &rest[at + 1..];
        let digits = rest.as_bytes().get(..2);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(invalid("the query has a % without two hexadecimal digits"));
        }
    }
    Ok(percent_decode(value.replace('+', " ").as_bytes()).collect())
}
