//! Limits the size of responses of S3 and of credential providers before the SDK reads them into memory.
//!
//! The SDK collects and parses every response in memory, except the body of a successful GetObject. Every
//! request passes through [`BoundedClient`], the HTTP client of the S3 client and of the credentials chain.

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
        interceptors::dyn_dispatch_hint,
        orchestrator::{HttpRequest, HttpResponse, Metadata},
        result::ConnectorError,
        runtime_components::{RuntimeComponents as ClientComponents, RuntimeComponentsBuilder},
    },
    shared::IntoShared as _,
};
use aws_smithy_types::config_bag::ConfigBag as ClientConfig;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The maximum size of a response's headers, names and values. Those of S3 have a few kilobytes. hyper reads at
/// most 100 headers and 408 KiB into a connection's buffer.
const HEADERS_LIMIT_BYTES: usize = 64 * 1024;

/// The limit for responses that are neither listings nor objects; they have a few kilobytes. S3's largest
/// error, SignatureDoesNotMatch, repeats the request's headers three times.
const SMALL: ResponseLimit = ResponseLimit { bytes: 256 * 1024, marks: 4_096 };

/// The limit for listings: 1,000 keys of 1,024 bytes, each byte escaped in up to six, with about 26 tags per
/// key.
const LISTING: ResponseLimit = ResponseLimit { bytes: 8 * 1024 * 1024, marks: 40_000 };

/// The limits of a response body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ResponseLimit {
    /// The maximum size.
    bytes: u64,
    /// The maximum number of tags and attributes: each takes about 10 bytes in the response and about 300 in
    /// memory. Counts every `<`, and every `="` or `='`. XML escapes the `<` of keys as `&lt;`.
    marks: u64,
}

/// The expected response of a request. An extension of the request; without it, the limit is [`SMALL`].
#[derive(Debug, Clone, Copy)]
enum Expected {
    Listing,
    /// An error is small; the object itself is streamed, and `read` counts its bytes.
    Object,
}

/// An interceptor that sets the expected response of each request of the S3 client.
#[derive(Debug)]
pub(super) struct ExpectedResponses;

#[dyn_dispatch_hint]
impl Intercept for ExpectedResponses {
    fn name(&self) -> &'static str {
        "ExpectedResponses"
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

/// An HTTP client with size limits on responses.
#[derive(Debug)]
struct BoundedClient(SharedHttpClient);

/// Adds size limits on responses to a client.
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
        let response = self.0.call(request);
        HttpConnectorFuture::new(async move { limit(response.await?, expected) })
    }
}

fn limit(
    mut response: HttpResponse,
    expected: Option<Expected>,
) -> Result<HttpResponse, ConnectorError> {
    let header_bytes: usize =
        response.headers().iter().map(|(name, value)| name.len() + value.len()).sum();
    if header_bytes > HEADERS_LIMIT_BYTES {
        let error =
            ResponseTooLarge { part: "bytes of headers", limit: HEADERS_LIMIT_BYTES as u64 };
        return Err(ConnectorError::other(error.into(), None));
    }
    let limit = match expected {
        None => SMALL,
        Some(Expected::Listing) if response.status().is_success() => LISTING,
        Some(Expected::Object) if response.status().is_success() => return Ok(response),
        Some(_) => SMALL,
    };
    let body = std::mem::replace(response.body_mut(), SdkBody::taken());
    *response.body_mut() = SdkBody::from_body_1_x(LimitedBody {
        body,
        limit,
        bytes: 0,
        marks: 0,
        is_after_equals: false,
    });
    Ok(response)
}

/// A response exceeds its limit; the rest is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response has more than {limit} {part}")]
pub(super) struct ResponseTooLarge {
    part: &'static str,
    limit: u64,
}

/// A body that ends with [`ResponseTooLarge`] at its limit.
struct LimitedBody {
    body: SdkBody,
    limit: ResponseLimit,
    bytes: u64,
    marks: u64,
    /// Whether the last character was `=`, ignoring whitespace.
    is_after_equals: bool,
}

impl LimitedBody {
    fn count(&mut self, data: &[u8]) -> Result<(), ResponseTooLarge> {
        self.bytes = self.bytes.saturating_add(data.len() as u64);
        if self.bytes > self.limit.bytes {
            return Err(ResponseTooLarge { part: "bytes", limit: self.limit.bytes });
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
            return Err(ResponseTooLarge { part: "tags and attributes", limit: self.limit.marks });
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
            // Closes the connection instead of receiving the rest.
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
