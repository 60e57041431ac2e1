//! One call of a service, within its time limit.

use std::{error::Error, fmt, future::Future, time::Duration};

use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::{SdkConfig, region::Region, service_config::ServiceConfigKey};
use tara_export_outbound::{ENDPOINT_RULE, is_endpoint_url};

use super::{
    AwsContext,
    failure::{self, is_credential_refusal},
};
use crate::{SendError, SendErrorKind};

/// The URL of a service; `None` for its own in the region.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Endpoint(pub(super) Option<String>);

impl fmt::Debug for Endpoint {
    // Without the URL, which can contain a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "Endpoint(configured)" } else { "Endpoint" })
    }
}

impl Endpoint {
    /// The endpoint of the target, or that of the machine: `AWS_ENDPOINT_URL_<SERVICE>`, `AWS_ENDPOINT_URL`, the
    /// profile's `services` section, its `endpoint_url`, in the order of the AWS SDKs.
    ///
    /// # Errors
    /// If it is invalid. The message does not quote it, because the part that is not allowed can be a secret.
    pub(super) fn of(
        of_target: Option<String>,
        service: &'static str,
        sdk: &SdkConfig,
    ) -> Result<Self, String> {
        if let Some(url) = of_target {
            return match is_endpoint_url(&url) {
                true => Ok(Self(Some(url))),
                false => Err(format!("must be {ENDPOINT_RULE}")),
            };
        }
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env("AWS_ENDPOINT_URL")
            .profile("endpoint_url")
            .build();
        let of_service = key.ok().and_then(|key| sdk.service_config()?.load_config(key));
        let url = of_service.or_else(|| sdk.endpoint_url().map(str::to_owned));
        match url.map(|url| url.trim().to_owned()).filter(|url| !url.is_empty()) {
            Some(url) if !is_endpoint_url(&url) => Err(format!(
                "is not set, and the endpoint of {service} that AWS_ENDPOINT_URL_{}, AWS_ENDPOINT_URL or the AWS \
                 profile names must be {ENDPOINT_RULE}",
                service.to_uppercase()
            )),
            url => Ok(Self(url)),
        }
    }
}

/// The configuration of a client of a service: the machine's, in this region and with this endpoint, without timeouts
/// and retries of the SDK.
pub(super) fn config(sdk: &SdkConfig, region: Option<String>, endpoint: &Endpoint) -> SdkConfig {
    let mut builder = sdk.to_builder();
    if let Some(region) = region {
        builder.set_region(Some(Region::new(region)));
    }
    builder.set_retry_config(Some(aws_smithy_types::retry::RetryConfig::disabled()));
    builder.set_timeout_config(Some(aws_smithy_types::timeout::TimeoutConfig::disabled()));
    if endpoint.0.is_some() {
        // They select an endpoint of AWS, and the SDK refuses them together with another one.
        builder.set_use_fips(Some(false));
        builder.set_use_dual_stack(Some(false));
    }
    builder.build()
}

/// Calls a service within its time limit.
pub(super) struct Caller {
    service: &'static str,
    timeout: Duration,
    aws: AwsContext,
}

impl Caller {
    pub(super) fn new(service: &'static str, timeout: Duration, aws: AwsContext) -> Self {
        Self { service, timeout, aws }
    }

    pub(super) fn sdk(&self) -> &SdkConfig {
        &self.aws.sdk
    }

    /// The result of work with any number of calls, within the time limit. `action` is for messages, such as
    /// `publish to …`.
    pub(super) async fn within(
        &self,
        action: &str,
        work: impl Future<Output = Result<(), SendError>>,
    ) -> Result<(), SendError> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(self.timeout);
            let message = format!("cannot {action}: no response within {limit}");
            Err(SendError::new(SendErrorKind::Unavailable, message))
        })
    }

    /// The failure of a call. `right` is the right that the call needs.
    pub(super) fn failed<E>(
        &self,
        action: &str,
        right: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> SendError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        if let SdkError::ServiceError(refusal) = error
            && let Some(code) = refusal.err().code()
            && is_credential_refusal(code)
        {
            (self.aws.credentials_refused)(self.service, code);
        }
        failure::of_call(self.service, action, right, error)
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Caller");
        shown.field("service", &self.service).field("timeout", &self.timeout);
        shown.finish_non_exhaustive()
    }
}
