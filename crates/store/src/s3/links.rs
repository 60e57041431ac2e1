//! Presigned GET requests.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_credential_types::provider::{ProvideCredentials as _, error::CredentialsError};
use aws_sdk_s3::{
    Client,
    config::{
        Credentials, IdentityCache, ResponseChecksumValidation, SharedCredentialsProvider,
        timeout::TimeoutConfig,
    },
    presigning::PresigningConfig,
};
use chrono::{DateTime, SubsecRound as _, Utc};
use tokio::sync::Mutex;

use super::{
    super::{Link, LinkObjects, LinkRequest, ObjectKey, Store as _, StoreError},
    S3Store, disposition,
    failure::{self, Failure},
    identities::CREDENTIALS_TIMEOUT,
};

/// How long credentials are reused before they are loaded again. Avoids a load per link, and is short compared to
/// the lifetime of a role's credentials, so the expiry times of links are up to date.
const RELOAD_AFTER: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// The credentials that sign links. Separate from the client's own cache, which does not expose its credentials
/// and their expiry.
#[derive(Default)]
pub(super) struct SigningCredentials(Mutex<Option<LoadedCredentials>>);

#[derive(Clone)]
struct LoadedCredentials {
    credentials: Credentials,
    loaded_time: DateTime<Utc>,
    /// The generation of [`ReloadingCredentials`](super::credentials::ReloadingCredentials).
    generation: u64,
}

impl LoadedCredentials {
    /// The expiry time, if known.
    fn expire_time(&self) -> Option<DateTime<Utc>> {
        self.credentials.expiry().map(DateTime::from)
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let age = now - self.loaded_time;
        let expires_soon = self.expire_time().is_some_and(|end| end - now < RELOAD_AFTER);
        age >= chrono::TimeDelta::zero() && age < RELOAD_AFTER && !expires_soon
    }
}

impl SigningCredentials {
    /// Returns credentials that were loaded at most a minute ago.
    async fn load(
        &self,
        provider: Option<&SharedCredentialsProvider>,
        generation: u64,
        now: DateTime<Utc>,
    ) -> Result<LoadedCredentials, Failure> {
        let mut cached = self.0.lock().await;
        let is_current =
            |loaded: &&LoadedCredentials| loaded.is_fresh(now) && loaded.generation == generation;
        if let Some(loaded) = cached.as_ref().filter(is_current) {
            return Ok(loaded.clone());
        }
        let no_provider = || CredentialsError::not_loaded("no provider");
        let provider = provider.ok_or_else(|| failure::of_credentials(&no_provider()))?;
        let result =
            tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await;
        let credentials = result
            .unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(CREDENTIALS_TIMEOUT)))
            .map_err(|error| failure::of_credentials(&error))?;
        Ok(cached.insert(LoadedCredentials { credentials, loaded_time: now, generation }).clone())
    }
}

#[async_trait]
impl LinkObjects for S3Store {
    async fn link(&self, key: &ObjectKey, request: &LinkRequest) -> Result<Link, StoreError> {
        self.presign(key, request)
            .await
            .map_err(|failure| failure.into_store_error("link to", &self.location(key.as_str())))
    }

    async fn check_readable(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let request = self
            .client
            .get_object()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(key.as_str()))
            .range("bytes=0-0")
            .send();
        match self.bounded(request).await {
            Ok(_) => Ok(()),
            // An empty object has no first byte.
            Err(Failure { status: Some(416), .. }) => Ok(()),
            Err(failure) => Err(failure.into_store_error("read", &self.location(key.as_str()))),
        }
    }
}

impl S3Store {
    async fn presign(&self, key: &ObjectKey, link: &LinkRequest) -> Result<Link, Failure> {
        // The clock of all signatures, which have second precision.
        let now = self.client.config().time_source().map_or_else(SystemTime::now, |t| t.now());
        let now = DateTime::<Utc>::from(now).trunc_subsecs(0);
        if let Some(reloading) = &self.reloading {
            reloading.check().await;
        }
        let generation = self.reloading.as_ref().map_or(0, |reloading| reloading.generation());
        let provider = self.credentials.as_ref();
        let loaded = self.signing_credentials.load(provider, generation, now).await?;
        let time_to_live = lifetime(link.time_to_live, loaded.expire_time(), now)
            .ok_or_else(|| Failure::unavailable("this service's AWS credentials have expired"))?;
        let presigning = PresigningConfig::builder()
            .start_time(now.into())
            .expires_in(time_to_live)
            .build()
            .map_err(|_| Failure::unavailable("the lifetime is too long for a signature"))?;
        let request = self
            .signing_client(loaded.credentials)
            .get_object()
            .bucket(&self.settings.bucket)
            // Without the expected owner, which would need a header that browsers do not send.
            .key(self.full_key(key.as_str()))
            .response_content_disposition(disposition::attachment(&link.file_name))
            .response_content_type(&link.media_type)
            .presigned(presigning)
            .await?;
        Ok(Link { uri: request.uri().to_owned(), expire_time: now + time_to_live })
    }

    /// A client that only signs, with exactly these credentials.
    fn signing_client(&self, credentials: Credentials) -> Client {
        let config = self
            .client
            .config()
            .to_builder()
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            .timeout_config(TimeoutConfig::disabled())
            // Checksum validation would need a header that browsers do not send.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Client::from_conf(config)
    }
}

/// The lifetime of a link in whole seconds: as requested, or until the credentials expire. `None` if the link
/// would expire immediately.
fn lifetime(
    requested: Duration,
    credentials_expiry: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Duration> {
    let remaining = match credentials_expiry {
        Some(expiry) => Duration::from_secs((expiry - now).num_seconds().try_into().ok()?),
        None => Duration::MAX,
    };
    let seconds = requested.min(LinkRequest::MAX_TIME_TO_LIVE).min(remaining).as_secs();
    (seconds > 0).then_some(Duration::from_secs(seconds))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lifetime_is_limited_by_credentials() {
        let now: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
        let seconds = Duration::from_secs;
        let end = |millis| Some(now + chrono::TimeDelta::milliseconds(millis));
        assert_eq!(lifetime(seconds(900), None, now), Some(seconds(900)));
        assert_eq!(lifetime(seconds(900), end(900_000), now), Some(seconds(900)));
        assert_eq!(lifetime(seconds(900), end(899_999), now), Some(seconds(899)));
        assert_eq!(lifetime(seconds(900), end(1_000), now), Some(seconds(1)));
        assert_eq!(lifetime(seconds(900), end(999), now), None);
        assert_eq!(lifetime(seconds(900), end(-5_000), now), None);
        assert_eq!(lifetime(Duration::MAX, None, now), Some(LinkRequest::MAX_TIME_TO_LIVE));
    }

    #[test]
    fn credentials_are_reloaded_after_a_minute_and_before_expiry() {
        let now: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
        let is_fresh = |age, remaining: Option<i64>| {
            let expiry =
                remaining.map(|seconds| (now + chrono::TimeDelta::seconds(seconds)).into());
            let credentials = Credentials::new("a", "b", None, expiry, "test");
            let loaded_time = now - chrono::TimeDelta::seconds(age);
            LoadedCredentials { credentials, loaded_time, generation: 0 }.is_fresh(now)
        };
        assert!(is_fresh(0, None) && is_fresh(59, None) && is_fresh(59, Some(60)));
        assert!(!is_fresh(60, None), "older than a minute");
        assert!(!is_fresh(0, Some(59)), "about to expire");
        assert!(!is_fresh(-1, None), "from the future: the clock was set");
    }
}
