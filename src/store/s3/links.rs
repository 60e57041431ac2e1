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
    super::{Link, LinkObjects, LinkWish, ObjectKey, Store as _, StoreError},
    S3Store,
    client::CREDENTIALS_TIMEOUT,
    disposition,
    failure::{self, Failure},
};

/// How long credentials are used before they are asked for again: links in a row don't each ask, and a
/// role's credentials, which are renewed long before they end, are never told older than that.
const ASK_AGAIN_AFTER: chrono::TimeDelta = chrono::TimeDelta::minutes(1);

/// The credentials that links are signed with. Not those of the client's own cache, which tells nobody
/// which it signs with, and when they end.
#[derive(Default)]
pub(super) struct SigningCredentials(Mutex<Option<Taken>>);

#[derive(Clone)]
struct Taken {
    credentials: Credentials,
    taken_time: DateTime<Utc>,
}

impl Taken {
    /// When the credentials end, as far as they tell.
    fn expire_time(&self) -> Option<DateTime<Utc>> {
        self.credentials.expiry().map(DateTime::from)
    }

    fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let age = now - self.taken_time;
        let ends_soon = self.expire_time().is_some_and(|end| end - now < ASK_AGAIN_AFTER);
        age >= chrono::TimeDelta::zero() && age < ASK_AGAIN_AFTER && !ends_soon
    }
}

impl SigningCredentials {
    /// Credentials that are at most a minute old.
    async fn take(
        &self,
        provider: Option<&SharedCredentialsProvider>,
        now: DateTime<Utc>,
    ) -> Result<Taken, Failure> {
        let mut taken = self.0.lock().await;
        if let Some(taken) = taken.as_ref().filter(|taken| taken.is_fresh(now)) {
            return Ok(taken.clone());
        }
        let none = || CredentialsError::not_loaded("no provider");
        let provider = provider.ok_or_else(|| failure::of_credentials(&none()))?;
        let asked = tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await;
        let credentials = asked
            .unwrap_or_else(|_| Err(CredentialsError::provider_timed_out(CREDENTIALS_TIMEOUT)))
            .map_err(|error| failure::of_credentials(&error))?;
        Ok(taken.insert(Taken { credentials, taken_time: now }).clone())
    }
}

#[async_trait]
impl LinkObjects for S3Store {
    async fn link(&self, key: &ObjectKey, wish: &LinkWish) -> Result<Link, StoreError> {
        self.presign(key, wish)
            .await
            .map_err(|failure| failure.into_store_error("link to", &self.location(key.as_str())))
    }
}

impl S3Store {
    async fn presign(&self, key: &ObjectKey, wish: &LinkWish) -> Result<Link, Failure> {
        // The clock of all signatures. They have whole seconds.
        let now = self.client.config().time_source().map_or_else(SystemTime::now, |t| t.now());
        let now = DateTime::<Utc>::from(now).trunc_subsecs(0);
        let taken = self.signing_credentials.take(self.credentials.as_ref(), now).await?;
        let time_to_live = lifetime(wish.time_to_live, taken.expire_time(), now)
            .ok_or_else(|| Failure::unavailable("this service's AWS credentials have expired"))?;
        let presigning = PresigningConfig::builder()
            .start_time(now.into())
            .expires_in(time_to_live)
            .build()
            .map_err(|_| Failure::unavailable("no signature lives that long"))?;
        let request = self
            .signing_client(taken.credentials)
            .get_object()
            .bucket(&self.settings.bucket)
            // Not the bucket's owner: the link would need a header, which a browser does not send.
            .key(self.full_key(key.as_str()))
            .response_content_disposition(disposition::attachment(&wish.file_name))
            .response_content_type(&wish.media_type)
            .presigned(presigning)
            .await?;
        Ok(Link { uri: request.uri().to_owned(), expire_time: now + time_to_live })
    }

    /// A client that signs with these credentials and no others, and sends nothing.
    fn signing_client(&self, credentials: Credentials) -> Client {
        let config = self
            .client
            .config()
            .to_builder()
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache())
            .timeout_config(TimeoutConfig::disabled())
            // Otherwise a link needs a header, which a browser does not send.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Client::from_conf(config)
    }
}

/// How long a link lives: as wished, or until the credentials end, in whole seconds. None where it
/// would be dead at once.
fn lifetime(
    wished: Duration,
    credentials_end: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Duration> {
    let left = match credentials_end {
        Some(end) => Duration::from_secs((end - now).num_seconds().try_into().ok()?),
        None => Duration::MAX,
    };
    let whole = Duration::from_secs(wished.min(LinkWish::LONGEST).min(left).as_secs());
    (!whole.is_zero()).then_some(whole)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_link_lives_as_wished_or_as_long_as_its_credentials() {
        let now: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
        let seconds = Duration::from_secs;
        let end = |millis| Some(now + chrono::TimeDelta::milliseconds(millis));
        assert_eq!(lifetime(seconds(900), None, now), Some(seconds(900)));
        assert_eq!(lifetime(seconds(900), end(900_000), now), Some(seconds(900)));
        assert_eq!(lifetime(seconds(900), end(899_999), now), Some(seconds(899)));
        assert_eq!(lifetime(seconds(900), end(1_000), now), Some(seconds(1)));
        assert_eq!(lifetime(seconds(900), end(999), now), None);
        assert_eq!(lifetime(seconds(900), end(-5_000), now), None);
        assert_eq!(lifetime(Duration::MAX, None, now), Some(LinkWish::LONGEST));
    }

    #[test]
    fn credentials_are_asked_for_again_after_a_minute_and_before_they_end() {
        let now: DateTime<Utc> = "2026-11-22T18:37:00Z".parse().unwrap();
        let taken = |age, left: Option<i64>| {
            let expiry = left.map(|left| (now + chrono::TimeDelta::seconds(left)).into());
            let credentials = Credentials::new("a", "b", None, expiry, "test");
            Taken { credentials, taken_time: now - chrono::TimeDelta::seconds(age) }.is_fresh(now)
        };
        assert!(taken(0, None) && taken(59, None) && taken(59, Some(60)));
        assert!(!taken(60, None), "older than a minute");
        assert!(!taken(0, Some(59)), "as good as ended");
        assert!(!taken(-1, None), "from the future: the clock was set");
    }
}
