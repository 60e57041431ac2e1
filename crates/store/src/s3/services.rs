//! Other services of AWS, reached as S3 is: with the same credentials, proxies and certificate authorities.

use std::{fmt, sync::Arc};

use aws_config::SdkConfig;
use aws_sdk_s3::config::retry::RetryConfig;
use tara_export_outbound::Environment;

use super::{
    credentials::ReloadingCredentials,
    identities::Identities,
    machine::{Base, S3SettingsError, Values},
};

/// The configuration of clients of other services than S3.
#[derive(Clone)]
pub struct AwsServices {
    sdk: SdkConfig,
    credentials: Arc<ReloadingCredentials>,
    warnings: Arc<[String]>,
}

impl fmt::Debug for AwsServices {
    // Without the configuration, which contains all variables.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AwsServices").finish_non_exhaustive()
    }
}

impl AwsServices {
    /// Reads variables and files, for a server without a bucket. Sends no requests. With a bucket, use
    /// [`S3Store::services`](super::S3Store::services), which has the same credentials as S3.
    ///
    /// # Errors
    /// If the certificate authorities cannot be read.
    pub async fn load(environment: Environment) -> Result<Self, S3SettingsError> {
        let mut warnings = Vec::new();
        let values = Values::load(environment, &mut warnings).await;
        let base = values.into_base(None, &mut warnings).await?;
        Ok(Self { warnings: warnings.into(), ..Self::of_base(&base) })
    }

    pub(super) fn of_base(base: &Base) -> Self {
        let identities = Identities::reloading(base.credentials.clone());
        let sdk = base
            .sdk
            .to_builder()
            .http_client(base.http_client.clone())
            .identity_cache(identities)
            // Callers have their own retries.
            .retry_config(RetryConfig::disabled())
            .build();
        Self { sdk, credentials: base.credentials.clone(), warnings: Arc::default() }
    }

    /// The SDK's configuration: the machine's region, its endpoints of all services, and no retries. Responses have size
    /// limits. Its `Debug` form contains secrets.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.sdk
    }

    /// The settings of this machine that are not used, each with the reason, in one line.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Loads the credentials again, because a service refused them with this error code. At most once in ten seconds.
    pub fn credentials_refused(&self, service: &str, code: &str) {
        self.credentials.refused(service, code);
    }

    /// Loads the credentials again for the next request.
    pub fn reload_credentials(&self) {
        self.credentials.reload();
    }
}
