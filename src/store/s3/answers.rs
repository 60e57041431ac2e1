//! Bounds the answers of S3 and of the sources of credentials before the SDK reads them whole.
//!
//! The SDK collects every answer in memory but the body of a GetObject that succeeds, and makes of it
//! what the XML or JSON says. Every request passes [`BoundedClient`], the HTTP client of the S3 client
//! and of the credentials chain.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, SharedHttpClient,
        interceptors::BeforeTransmitInterceptorContextMut,
    },
    error::BoxError,
    primitives::SdkBody,
};
use aws_smithy_runtime_api::{
    client::{
        http::{
            HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings,
            SharedHttpConnector,
        },
        orchestrator::{HttpRequest, HttpResponse, Metadata},
        result::ConnectorError,
        runtime_components::{RuntimeComponents as ClientComponents, RuntimeComponentsBuilder},
    },
    shared::IntoShared as _,
};
use aws_smithy_types::config_bag::ConfigBag as ClientConfig;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The most bytes of an answer's headers, names and values. S3 has some kilobytes. hyper reads at most
/// 100 headers and 408 KiB into its buffer of a connection.
const HEADERS_LIMIT_BYTES: usize = 64 * 1024;

/// An answer that is neither a listing nor an object: some kilobytes. S3's largest error,
/// SignatureDoesNotMatch, repeats the request's headers three times over.
const SMALL: AnswerLimit = AnswerLimit { bytes: 256 * 1024, marks: 4_096 };

/// 1,000 keys of 1,024 bytes, each byte escaped in up to six, with some 26 tags for each key.
const LISTING: AnswerLimit = AnswerLimit { bytes: 8 * 1024 * 1024, marks: 40_000 };

/// How much of an answer is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AnswerLimit {
    /// The body's bytes.
    bytes: u64,
    /// The body's tags and attributes: each has some ten bytes in the answer and some three hundred in
    /// memory. Counts every `<`, and every `="` or `='`. XML writes the `<` of keys as `&lt;`.
    marks: u64,
}

/// What a request's answer may be. An extension of the request; without it, an answer is [`SMALL`].
#[derive(Debug, Clone, Copy)]
enum Expected {
    Listing,
    /// An error is small; the object itself is streamed, and `read` counts it.
    Object,
}

/// Notes with each request of the S3 client what its answer may be.
#[derive(Debug)]
pub(super) struct AnswerKinds;

impl Intercept for AnswerKinds {
    fn name(&self) -> &'static str {
        "AnswerKinds"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _runtime_components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let expected = match config.load::<Metadata>().map(Metadata::name) {
            Some("GetObject") => Expected::Object,
            Some("ListObjectsV2" | "ListParts" | "GetBucketLifecycleConfiguration") => {
                Expected::Listing
            }
            _ => return Ok(()),
        };
        context.request_mut().add_extension(expected);
        Ok(())
    }
}

/// An HTTP client whose answers are bounded.
#[derive(Debug)]
struct BoundedClient(SharedHttpClient);

/// The same client with bounded answers.
pub(super) fn bounded(client: SharedHttpClient) -> SharedHttpClient {
    BoundedClient(client).into_shared()
}

impl HttpClient for BoundedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &ClientComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(BoundedConnector(self.0.http_connector(settings, components)))
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ClientConfig,
    ) -> Result<(), BoxError> {
        self.0.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &ClientComponents,
        config: &ClientConfig,
    ) -> Result<(), BoxError> {
        self.0.validate_final_config(components, config)
    }
}

#[derive(Debug)]
struct BoundedConnector(SharedHttpConnector);

impl HttpConnector for BoundedConnector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let expected = request.extension::<Expected>().copied();
        let answer = self.0.call(request);
        HttpConnectorFuture::new(async move { limit(answer.await?, expected) })
    }
}

fn limit(
    mut answer: HttpResponse,
    expected: Option<Expected>,
) -> Result<HttpResponse, ConnectorError> {
    let header_bytes: usize =
        answer.headers().iter().map(|(name, value)| name.len() + value.len()).sum();
    if header_bytes > HEADERS_LIMIT_BYTES {
        let error = AnswerTooLarge { part: "headers", limit: HEADERS_LIMIT_BYTES as u64 };
        return Err(ConnectorError::other(error.into(), None));
    }
    let limit = match expected {
        None => SMALL,
        Some(Expected::Listing) if answer.status().is_success() => LISTING,
        Some(Expected::Object) if answer.status().is_success() => return Ok(answer),
        Some(_) => SMALL,
    };
    let body = std::mem::replace(answer.body_mut(), SdkBody::taken());
    *answer.body_mut() = SdkBody::from_body_1_x(LimitedBody {
        body,
        limit,
        bytes: 0,
        marks: 0,
        is_after_equals: false,
    });
    Ok(answer)
}

/// An answer has more than it may have; the rest is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer has more than {limit} {part}")]
pub(super) struct AnswerTooLarge {
    part: &'static str,
    limit: u64,
}

/// A body that ends with [`AnswerTooLarge`] behind its limit.
struct LimitedBody {
    body: SdkBody,
    limit: AnswerLimit,
    bytes: u64,
    marks: u64,
    /// Whether a `=` came last, spaces aside.
    is_after_equals: bool,
}

impl LimitedBody {
    fn count(&mut self, data: &[u8]) -> Result<(), AnswerTooLarge> {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        if self.bytes > self.limit.bytes {
            return Err(AnswerTooLarge { part: "bytes", limit: self.limit.bytes });
        }
        for byte in data {
            match byte {
                b'<' => self.marks += 1,
                b'"' | b'\'' if self.is_after_equals => self.marks += 1,
                _ => {}
            }
            self.is_after_equals = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.is_after_equals,
                byte => *byte == b'=',
            };
        }
        if self.marks > self.limit.marks {
            return Err(AnswerTooLarge { part: "tags and attributes", limit: self.limit.marks });
        }
        Ok(())
    }
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(error) = self.count(data)
        {
            // Closes the connection, on which the rest would come.
            self.body = SdkBody::empty();
            return Poll::Ready(Some(Err(error.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for LimitedBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LimitedBody").field("limit", &self.limit).finish_non_exhaustive()
    }
}
