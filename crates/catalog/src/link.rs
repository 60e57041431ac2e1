//! Links to a bundle's files.

use std::time::Duration;

use tara_export_bundle::ArtifactPath;
use tara_export_store::{Link, LinkRequest, StoreErrorKind};

use super::{ReadError, StoredBundle, layout, read::data_loss};

/// Why a link to a file of a bundle cannot be created.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bundle is on this server's disk, which clients cannot reach.
    #[error(
        "{location} is on the server's own disk and cannot be linked: use DownloadArtifact to read it"
    )]
    StoredLocally {
        /// Where the bundle is.
        location: String,
    },
}

impl StoredBundle {
    /// Creates a link to one of the bundle's files, or to its manifest. A download through the link is
    /// not verified, so this checks that the file can be read and has the right size, and its digest if
    /// the store has one.
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
        let look_up = futures::try_join!(self.store().head(&key), links.check_readable(&key));
        let (info, ()) = look_up.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound => data_loss(self.store(), &key, "the file is missing"),
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
        let request = LinkRequest { time_to_live, file_name, media_type };
        Ok(links.link(&key, &request).await.map_err(ReadError::from)?)
    }
}
