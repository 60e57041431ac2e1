//! Limits the size of every error, whichever service, layer or stream it is from.
//!
//! An error is sent in headers, and clients limit headers: gRPC core (Python, C++, Ruby, PHP) and grpc-java accept
//! 8 KiB, counted as in HTTP/2 (RFC 9113, section 6.5.2), after base64 and percent-encoding. A client that gets more
//! loses the error, and reports another one that seems temporary.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, extract::Request, middleware::Next, response::Response};
use bytes::Bytes;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::{Body as HttpBody, Frame, SizeHint};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb::{self, BadRequest, ErrorInfo, RetryInfo, bad_request::FieldViolation};

/// The largest headers of a response that is only an error. Proxies with buffers of 4 KiB, as nginx has, pass it on.
const HEADERS_LIMIT_BYTES: usize = 3840;
/// What is added to them outside of this layer: `:status`, the date, and the headers of CORS.
const ADDED_BYTES: usize = 640;
/// The largest error after the headers of a response. The rest of the 8 KiB is for trailers that proxies add.
const TRAILERS_LIMIT_BYTES: usize = 7680;
/// The largest other headers of an error, such as metadata.
const OTHERS_LIMIT_BYTES: usize = 1024;
/// What each header adds to the size of its name and its value.
const OVERHEAD_BYTES: usize = 32;
/// The longest message of an error as it is encoded in headers.
pub(super) const MESSAGE_LIMIT_BYTES: usize = 1024;
/// The longest text in an ErrorInfo or a violation of an error that is too large otherwise.
const SHORT_BYTES: usize = 256;
/// The size of all metadata in an ErrorInfo of such an error.
const METADATA_LIMIT_BYTES: usize = 512;
/// The key of ErrorInfo's metadata with the number of violations that are not in the error.
pub(super) const OMITTED: &str = "omitted_violations";

/// The characters that tonic encodes in `grpc-message`: more than gRPC requires.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'?')
    .add(b'{')
    .add(b'}');

/// A layer for [`axum::middleware::from_fn`], outside of all layers that return errors and inside of gRPC-Web: makes
/// an error that is too large smaller. Violations that do not fit are counted in the error.
pub async fn limit_errors(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.headers().contains_key(Status::GRPC_STATUS) {
        return limited_headers(response);
    }
    let content_type = response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    if content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
        response.map(|body| Body::new(LimitedBody { body }))
    } else {
        response
    }
}

/// Limits an error that is in the headers of a response.
fn limited_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let limit = HEADERS_LIMIT_BYTES - ADDED_BYTES;
    if size_bytes(headers) > limit {
        keep_known(headers);
        if let Some(error) = error_of(headers) {
            limit_to(headers, error, limit);
        }
    }
    response
}

/// Limits an error in trailers.
fn limited_trailers(mut trailers: HeaderMap) -> HeaderMap {
    if size_bytes(&trailers) > TRAILERS_LIMIT_BYTES {
        keep_known(&mut trailers);
        if let Some(error) = error_of(&trailers) {
            limit_to(&mut trailers, error, TRAILERS_LIMIT_BYTES);
        }
    }
    trailers
}

/// The size of headers as HTTP/2 counts it.
fn size_bytes(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| entry_bytes(name.as_str(), value.len())).sum()
}

fn entry_bytes(name: &str, value_bytes: usize) -> usize {
    name.len() + value_bytes + OVERHEAD_BYTES
}

fn is_error(name: &str) -> bool {
    [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS]
        .iter()
        .any(|header| header.as_str() == name)
}

/// Removes other headers than those of gRPC if they are too large together.
fn keep_known(headers: &mut HeaderMap) {
    if others_bytes(headers) > OTHERS_LIMIT_BYTES {
        let unknown: Vec<_> = headers
            .keys()
            .filter(|name| !name.as_str().starts_with("grpc-") && **name != CONTENT_TYPE)
            .cloned()
            .collect();
        for name in unknown {
            headers.remove(name);
        }
    }
}

fn others_bytes(headers: &HeaderMap) -> usize {
    let others = headers.iter().filter(|(name, _)| !is_error(name.as_str()));
    others.map(|(name, value)| entry_bytes(name.as_str(), value.len())).sum()
}

/// The error in these headers. `None` if there is none.
fn error_of(headers: &HeaderMap) -> Option<pb::Status> {
    let status = Status::from_header_map(headers)?;
    if status.code() == Code::Ok {
        return None;
    }
    let details = pb::Status::decode(status.details()).map(|details| details.details);
    Some(pb::Status {
        code: status.code() as i32,
        message: status.message().to_owned(),
        details: details.unwrap_or_default(),
    })
}

/// Writes the error to the headers. Shortens it, so that all headers together have at most this size.
fn limit_to(headers: &mut HeaderMap, error: pb::Status, limit_bytes: usize) {
    let error = fitted(error, limit_bytes.saturating_sub(others_bytes(headers)));
    tracing::debug!(code = error.code, message = error.message, "an error was shortened");
    headers.remove(Status::GRPC_STATUS_DETAILS);
    headers.remove(Status::GRPC_MESSAGE);
    let details = if error.details.is_empty() { Vec::new() } else { error.encode_to_vec() };
    let status = Status::with_details(Code::from_i32(error.code), error.message, details.into());
    // The encoding of each text is valid in headers.
    if status.add_header(headers).is_err() {
        headers.insert(Status::GRPC_STATUS, error.code.into());
    }
}

/// The size of the headers of this error.
fn error_bytes(error: &pb::Status) -> usize {
    let details = if error.details.is_empty() {
        0
    } else {
        let base64_bytes = error.encoded_len().saturating_mul(4).div_ceil(3);
        entry_bytes(Status::GRPC_STATUS_DETAILS.as_str(), base64_bytes)
    };
    entry_bytes(Status::GRPC_STATUS.as_str(), 2)
        + entry_bytes(Status::GRPC_MESSAGE.as_str(), encoded_bytes(&error.message))
        + details
}

/// The size of a message as it is encoded in headers.
pub(super) fn encoded_bytes(text: &str) -> usize {
    percent_encode(text.as_bytes(), ENCODED).map(str::len).sum()
}

/// Returns the error within this size. Removes first what its caller needs least: the end of a long message, then
/// details that this service does not send, then the ends of texts in details, then the last violations.
fn fitted(mut error: pb::Status, limit_bytes: usize) -> pb::Status {
    if error_bytes(&error) <= limit_bytes {
        return error;
    }
    error.message = shortened(mem::take(&mut error.message), MESSAGE_LIMIT_BYTES, encoded_bytes);
    if error_bytes(&error) > limit_bytes {
        error.details.retain(|detail| {
            is::<ErrorInfo>(detail) || is::<RetryInfo>(detail) || is::<BadRequest>(detail)
        });
    }
    if error_bytes(&error) > limit_bytes {
        shorten_details(&mut error.details);
    }
    for limit in [MESSAGE_LIMIT_BYTES, SHORT_BYTES] {
        error.message = shortened(error.message, limit, encoded_bytes);
        if error_bytes(&error) <= limit_bytes {
            return error;
        }
        if let Some(fitted) = with_fewer_violations(&error, limit_bytes) {
            return fitted;
        }
    }
    error.details.clear();
    error
}

/// The longest start of a text whose size, as this function counts it, is within the limit. A shortened text ends with
/// an ellipsis.
pub(super) fn shortened(mut text: String, limit_bytes: usize, size: fn(&str) -> usize) -> String {
    const ELLIPSIS: char = '…';

    if size(&text) <= limit_bytes {
        return text;
    }
    let mut free_bytes = limit_bytes.saturating_sub(size(ELLIPSIS.encode_utf8(&mut [0; 4])));
    let mut kept_bytes = 0;
    for character in text.chars() {
        let character_bytes = size(character.encode_utf8(&mut [0; 4]));
        if character_bytes > free_bytes {
            break;
        }
        free_bytes -= character_bytes;
        kept_bytes += character.len_utf8();
    }
    text.truncate(kept_bytes);
    text.push(ELLIPSIS);
    text
}

/// A text in details, within the limit.
pub(super) fn short(text: String) -> String {
    shortened(text, SHORT_BYTES, str::len)
}

fn shorten_details(details: &mut [Any]) {
    for detail in details {
        if let Some(mut info) = unpacked::<ErrorInfo>(detail) {
            info.reason = short(info.reason);
            info.domain = short(info.domain);
            let mut metadata: Vec<_> = info.metadata.into_iter().collect();
            metadata.sort();
            let mut free_bytes = METADATA_LIMIT_BYTES;
            let metadata = metadata.into_iter().map(|(key, value)| (short(key), short(value)));
            info.metadata = metadata
                .take_while(|(key, value)| {
                    let free = free_bytes.checked_sub(key.len() + value.len());
                    free_bytes = free.unwrap_or(0);
                    free.is_some()
                })
                .collect();
            *detail = packed(&info);
        } else if let Some(mut request) = unpacked::<BadRequest>(detail) {
            for violation in &mut request.field_violations {
                for text in
                    [&mut violation.field, &mut violation.description, &mut violation.reason]
                {
                    *text = short(mem::take(text));
                }
                violation.localized_message = None;
            }
            *detail = packed(&request);
        }
    }
}

/// The error with as many violations as fit, and the number of the others. `None` if none fits.
fn with_fewer_violations(error: &pb::Status, limit_bytes: usize) -> Option<pb::Status> {
    let position = error.details.iter().position(is::<BadRequest>)?;
    let mut violations = unpacked::<BadRequest>(&error.details[position])?.field_violations;
    let mut omitted = omitted(error);
    if omitted > 0 && violations.last().is_some_and(|last| last.field.is_empty()) {
        violations.pop();
    }
    let with = |shown: &[FieldViolation], omitted: usize| {
        let rest = (omitted > 0)
            .then(|| FieldViolation { description: omitted_text(omitted), ..Default::default() });
        let field_violations = shown.iter().cloned().chain(rest).collect();
        let mut error = error.clone();
        error.details[position] = packed(&BadRequest { field_violations });
        for detail in &mut error.details {
            if let Some(mut info) = unpacked::<ErrorInfo>(detail) {
                info.metadata.insert(OMITTED.to_owned(), omitted.to_string());
                *detail = packed(&info);
            }
        }
        error
    };
    while !violations.is_empty() {
        let fewer = with(&violations, omitted);
        let excess_bytes = error_bytes(&fewer).saturating_sub(limit_bytes);
        if excess_bytes == 0 {
            return Some(fewer);
        }
        // Base64 enlarges by a third.
        let mut removed_bytes = 0;
        while let Some(last) = violations.pop() {
            omitted += 1;
            removed_bytes += prost::encoding::message::encoded_len(1, &last);
            if removed_bytes * 4 / 3 >= excess_bytes {
                break;
            }
        }
    }
    None
}

/// The last violation's description if an error omits violations.
pub(super) fn omitted_text(omitted: usize) -> String {
    let fields = if omitted == 1 { "field" } else { "fields" };
    format!("and {omitted} more invalid {fields}")
}

/// How many violations the error omits, according to its ErrorInfo.
fn omitted(error: &pb::Status) -> usize {
    let info = error.details.iter().find_map(unpacked::<ErrorInfo>);
    info.and_then(|info| info.metadata.get(OMITTED)?.parse().ok()).unwrap_or(0)
}

/// A message of `google.rpc` in the details of an error.
trait Detail: Message + Default {
    const TYPE_URL: &str;
}

impl Detail for ErrorInfo {
    const TYPE_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";
}

impl Detail for RetryInfo {
    const TYPE_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";
}

impl Detail for BadRequest {
    const TYPE_URL: &str = "type.googleapis.com/google.rpc.BadRequest";
}

fn is<D: Detail>(detail: &Any) -> bool {
    detail.type_url == D::TYPE_URL
}

fn unpacked<D: Detail>(detail: &Any) -> Option<D> {
    is::<D>(detail).then(|| D::decode(&*detail.value).ok()).flatten()
}

fn packed<D: Detail>(detail: &D) -> Any {
    Any { type_url: D::TYPE_URL.to_owned(), value: detail.encode_to_vec() }
}

/// The body of a response whose trailers are limited.
struct LimitedBody {
    body: Body,
}

impl HttpBody for LimitedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context).map_ok(|frame| match frame.into_trailers() {
            Ok(trailers) => Frame::trailers(limited_trailers(trailers)),
            Err(frame) => frame,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use http_body_util::BodyExt as _;
    use proptest::prelude::*;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn response(status: Status) -> Response {
        status.into_http::<tonic::body::Body>().map(Body::new)
    }

    /// The headers of the limited response.
    fn sent(response: Response) -> HeaderMap {
        limited_headers(response).headers().clone()
    }

    fn invalid(violations: impl IntoIterator<Item = (String, String)>) -> Status {
        let mut details = ErrorDetails::with_error_info("INVALID_REQUEST", "d", HashMap::new());
        for (field, description) in violations {
            details.add_bad_request_violation(field, description);
        }
        Status::with_error_details(Code::InvalidArgument, "first", details)
    }

    #[test]
    fn error_that_fits_is_unchanged() {
        let status = invalid([("a".to_owned(), "is ü".to_owned())]);
        let expected = response(invalid([("a".to_owned(), "is ü".to_owned())])).headers().clone();
        assert_eq!(sent(response(status)), expected);
    }

    #[test]
    fn violations_that_do_not_fit_are_counted() {
        let field = |number| (format!("review.suggestions[{number}].name"), "is wrong".to_owned());
        let headers = sent(response(invalid((0..600).map(field))));
        let size = size_bytes(&headers) + ADDED_BYTES;
        assert!((HEADERS_LIMIT_BYTES - 200..=HEADERS_LIMIT_BYTES).contains(&size), "{size}");
        let status = Status::from_header_map(&headers).unwrap();
        let details = status.get_error_details();
        let shown = &details.bad_request().unwrap().field_violations;
        let omitted = 600 - (shown.len() - 1);
        assert_eq!(shown[0].field, "review.suggestions[0].name");
        assert_eq!(shown.last().unwrap().description, format!("and {omitted} more invalid fields"));
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_REQUEST", "d"));
        assert_eq!(info.metadata[OMITTED], omitted.to_string());
    }

    /// An error whose producer has omitted violations already.
    #[test]
    fn omitted_violations_add_up() {
        let mut details = ErrorDetails::new();
        details.set_error_info("R", "d", HashMap::from([(OMITTED.to_owned(), "1000".to_owned())]));
        for number in 0..600 {
            details.add_bad_request_violation(number.to_string(), "x".repeat(50));
        }
        details.add_bad_request_violation("", omitted_text(1000));
        let status = Status::with_error_details(Code::InvalidArgument, "first", details);
        let headers = sent(response(status));
        let details = Status::from_header_map(&headers).unwrap().get_error_details();
        let shown = &details.bad_request().unwrap().field_violations;
        let expected = omitted_text(1600 - (shown.len() - 1));
        assert_eq!(shown.last().unwrap().description, expected);
        assert!(shown[..shown.len() - 1].iter().all(|shown| !shown.field.is_empty()));
    }

    #[test]
    fn long_message_is_shortened_and_the_details_are_kept() {
        let mut details = ErrorDetails::with_error_info("STORE_UNAVAILABLE", "d", HashMap::new());
        details.set_retry_info(Some(std::time::Duration::from_secs(7)));
        let message = format!("{}end", "größer ".repeat(2000));
        let status = Status::with_error_details(Code::Unavailable, message, details);
        let headers = sent(response(status));
        assert!(size_bytes(&headers) + ADDED_BYTES <= HEADERS_LIMIT_BYTES);
        let status = Status::from_header_map(&headers).unwrap();
        assert!(status.message().starts_with("größer größer"), "{status:?}");
        assert!(status.message().ends_with('…'), "{status:?}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "STORE_UNAVAILABLE");
        assert_eq!(details.retry_info().unwrap().retry_delay.unwrap().as_secs(), 7);
    }

    #[test]
    fn large_metadata_is_removed_from_an_error() {
        let mut response = response(Status::not_found("gone"));
        response.headers_mut().insert("x-custom", "x".repeat(10_000).parse().unwrap());
        let headers = sent(response);
        assert!(!headers.contains_key("x-custom"));
        assert_eq!(Status::from_header_map(&headers).unwrap().message(), "gone");
    }

    #[tokio::test]
    async fn trailers_of_a_stream_are_limited() {
        let mut trailers = HeaderMap::new();
        Status::unavailable("ü".repeat(10_000)).add_header(&mut trailers).unwrap();
        let body = http_body_util::Empty::<Bytes>::new();
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        let body = LimitedBody { body: Body::new(body) };
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().unwrap();
        assert!(size_bytes(trailers) <= TRAILERS_LIMIT_BYTES);
        let status = Status::from_header_map(trailers).unwrap();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().starts_with("üü") && status.message().ends_with('…'));
    }

    #[test]
    fn shortened_text_is_within_the_limit_as_counted() {
        assert_eq!(shortened("abc".to_owned(), 3, str::len), "abc");
        assert_eq!(shortened("abcdef".to_owned(), 5, str::len), "ab…");
        assert_eq!(shortened("üüü üüü".to_owned(), 22, encoded_bytes), "üü…");
        assert_eq!(shortened("abcdef".to_owned(), 1, str::len), "…");
    }

    /// A text of up to this many characters, each of one to four bytes.
    fn text(characters: usize) -> impl Strategy<Value = String> {
        let character = proptest::sample::select(vec!["x", " ", "ü", "字", "😀", "\u{1}"]);
        (character, 0..characters).prop_map(|(character, count)| character.repeat(count))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever an error contains, clients get its code, and what it is about.
        #[test]
        fn any_error_fits(
            code in 1..17,
            message in text(3000),
            reason in "[A-Z_]{1,63}",
            metadata in proptest::collection::hash_map(text(300), text(3000), 0..20),
            violations in proptest::collection::vec((text(2000), text(2000)), 0..80),
            other in text(9000),
            has_other in any::<bool>(),
        ) {
            let mut details = ErrorDetails::with_error_info(&reason, "tara.export.v1", metadata);
            details.set_retry_info(Some(std::time::Duration::from_secs(1)));
            for (field, description) in &violations {
                details.add_bad_request_violation(field, description);
            }
            if has_other {
                details.set_debug_info(vec![other], "");
            }
            let status = Status::with_error_details(Code::from_i32(code), message, details);
            let headers = sent(response(status));
            prop_assert!(size_bytes(&headers) + ADDED_BYTES <= HEADERS_LIMIT_BYTES);
            let sent = Status::from_header_map(&headers).unwrap();
            prop_assert_eq!(sent.code() as i32, code);
            let details = sent.get_error_details();
            prop_assert_eq!(&details.error_info().unwrap().reason, &reason);
            prop_assert!(details.retry_info().is_some());
            if !violations.is_empty() {
                let shown = &details.bad_request().unwrap().field_violations;
                prop_assert!(!shown.is_empty());
                let omits = shown.last().unwrap().description.ends_with("more invalid fields")
                    || shown.last().unwrap().description.ends_with("more invalid field");
                prop_assert_eq!(shown.len() - usize::from(omits) < violations.len(), omits);
            }
        }
    }
}
