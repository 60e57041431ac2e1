//! Links to a bundle's files.

use std::time::Duration;

use super::{ReadError, StoredBundle, layout, read::data_loss};
use crate::{
    bundle::ArtifactPath,
    store::{Link, LinkWish, StoreErrorKind},
};

/// Why there is no link to a file of a bundle.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The file, or the store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bundle lies on this server's disk, which nobody else reads.
    #[error(
        "{location} is on the server's own disk, which no link leads to: DownloadArtifact reads it"
    )]
    StoredLocally {
        /// Where the bundle is.
        location: String,
    },
}

impl StoredBundle {
    /// A link to one of the bundle's files, or to its manifest. What the link gives is not checked on
    /// its way: that the file is there and has its size is looked for now, its digest where the store
    /// keeps one.
    ///
    /// # Errors
    /// As [`StoredBundle::open`], and [`LinkError::StoredLocally`].
    pub async fn link(
        &self,
        path: &ArtifactPath,
        time_to_live: Duration,
    ) -> Result<Link, LinkError> {
        let expected = self.artifact(path)?;
        let Some(links) = self.store().links() else {
            let location = self.store().location(&format!("{}/", self.folder()));
            return Err(LinkError::StoredLocally { location });
        };
        let key = layout::artifact(self.folder(), path);
        let info = self.store().head(&key).await.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound => data_loss(self.store(), &key, "the file is gone"),
            _ => error.into(),
        })?;
        if info.size_bytes != expected.size_bytes {
            let difference =
                format!("it has {} bytes instead of {}", info.size_bytes, expected.size_bytes);
            return Err(data_loss(self.store(), &key, difference).into());
        }
        if let Some(sha256) = info.sha256.filter(|sha256| *sha256 != expected.sha256) {
            let difference = format!("its SHA-256 is {sha256} instead of {}", expected.sha256);
            return Err(data_loss(self.store(), &key, difference).into());
        }
        let file_name = self
            .manifest()
            .artifacts
            .iter()
            .find(|artifact| artifact.path == *path)
            .and_then(|artifact| artifact.file_name.clone())
            .unwrap_or_else(|| path.as_str().to_owned());
        let media_type = expected.media_type;
        let wish = LinkWish { time_to_live, file_name, media_type };
        Ok(links.link(&key, &wish).await.map_err(ReadError::from)?)
    }
}
