//! Whether the bucket locks every object by default (Amazon S3 User Guide, "Locking objects with Object Lock").

use aws_sdk_s3::error::ProvideErrorMetadata as _;

use super::S3Store;
use crate::{Store as _, StoreError};

/// Whether objects cannot be erased for a time after they were put, although the request did not ask for it.
pub(super) async fn has_default_retention(store: &S3Store) -> Result<bool, StoreError> {
    let request = store
        .client
        .get_object_lock_configuration()
        .bucket(&store.settings.bucket)
        .set_expected_bucket_owner(store.owner())
        .send();
    let reading = async {
        match request.await {
            Ok(response) => {
                let configuration = response.object_lock_configuration;
                let rule = configuration.and_then(|configuration| configuration.rule);
                Ok(rule.is_some_and(|rule| rule.default_retention.is_some()))
            }
            Err(error) if error.code() == Some("ObjectLockConfigurationNotFoundError") => Ok(false),
            Err(error) => Err(error),
        }
    };
    store.bounded(reading).await.map_err(|failure| {
        failure.into_store_error("read the Object Lock settings of", &store.location(""))
    })
}
