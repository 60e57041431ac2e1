//! Deleting objects.

use aws_sdk_s3::error::ProvideErrorMetadata as _;

use super::{super::ObjectKey, S3Store, failure::Failure};

impl S3Store {
    /// Deletes an object. Names no version: a bucket with versioning keeps the object behind a
    /// delete marker for as long as its own rules say.
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
                // Amazon S3 answers 204 where nothing is; some servers that speak its protocol don't.
                Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
                Err(error) => Err(error),
            }
        };
        self.bounded(deletion).await.map_err(Failure::of_bucket)
    }
}
