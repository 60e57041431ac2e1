//! Deleting objects.

use aws_sdk_s3::error::ProvideErrorMetadata as _;

use super::{super::ObjectKey, S3Store, failure::Failure};

impl S3Store {
    /// Deletes an object. Sends no version: a bucket with versioning adds a delete marker and keeps the object
    /// according to its own rules.
    pub(super) async fn remove(&self, key: &ObjectKey) -> Result<(), Failure> {
        let request = self
            .client
            .delete_object()
            .bucket(&self.settings.bucket)
            .set_expected_bucket_owner(self.owner())
            .key(self.full_key(key.as_str()))
            .send();
        let deletion = async {
            match request.await {
                Ok(_) => Ok(()),
                // Amazon S3 returns 204 for a missing object; some compatible servers do not.
                Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.bounded(deletion).await.map_err(Failure::of_bucket)
    }
}
