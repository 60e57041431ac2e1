//! Getting files of a bundle, and whole bundles, out of a server.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tonic::Streaming;

use super::{Client, ClientError, names};
use crate::{
    digest::{Sha256, Sha256Hasher},
    proto::{
        Artifact, BundleArchive, CreateDownloadLinkRequest, CreateDownloadLinkResponse,
        DownloadArtifactRequest, DownloadArtifactResponse, DownloadBundleRequest,
        DownloadBundleResponse, download_artifact_response as artifact_part,
        download_bundle_response as bundle_part,
    },
};

impl Client {
    /// Writes one file of a bundle, and checks that it is the one the manifest names. `path` is the
    /// path within the bundle's folder.
    ///
    /// # Errors
    /// The server's refusal, [`ClientError::Damaged`] where other bytes came, and
    /// [`ClientError::Write`]. Then what was written is not to be used.
    pub async fn download_artifact(
        &self,
        name: impl Into<String>,
        path: impl Into<String>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<Artifact, ClientError> {
        let mut download = self.open_artifact(name, path).await?;
        while let Some(data) = download.next().await? {
            writer.write_all(&data).await.map_err(ClientError::Write)?;
        }
        writer.flush().await.map_err(ClientError::Write)?;
        Ok(download.artifact)
    }

    /// Writes a whole bundle as a ZIP file.
    ///
    /// # Errors
    /// The server's refusal, and [`ClientError::Write`]. Then what was written is not to be used.
    pub async fn download_bundle(
        &self,
        name: impl Into<String>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<BundleArchive, ClientError> {
        let mut download = self.open_bundle(name).await?;
        while let Some(data) = download.next().await? {
            writer.write_all(&data).await.map_err(ClientError::Write)?;
        }
        writer.flush().await.map_err(ClientError::Write)?;
        Ok(download.archive)
    }

    /// Makes a link by which anybody can download one file of a bundle in S3. `path` is the path within
    /// the bundle's folder; without a `time_to_live` the link lives as long as the server thinks good.
    /// The answer tells when it really dies.
    ///
    /// # Errors
    /// The server's refusal, such as STORED_LOCALLY for a bundle that no link leads to.
    pub async fn create_download_link(
        &self,
        name: impl Into<String>,
        path: impl Into<String>,
        time_to_live: Option<Duration>,
    ) -> Result<CreateDownloadLinkResponse, ClientError> {
        // Only lives of 292 billion years don't fit; as long as can be is as wrong, and the server says so.
        let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
        let name = name.into();
        let request = CreateDownloadLinkRequest {
            name: name.clone(),
            path: path.into(),
            time_to_live: time_to_live.map(|wished| wished.try_into().unwrap_or(longest)),
        };
        let link: CreateDownloadLinkResponse = self
            .call(request, |mut service, request| async move {
                service.create_download_link(request).await
            })
            .await?;
        names::check_link(&link.uri, &name)?;
        Ok(link)
    }

    /// Begins to read one file of a bundle.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn open_artifact(
        &self,
        name: impl Into<String>,
        path: impl Into<String>,
    ) -> Result<ArtifactDownload, ClientError> {
        let (name, path) = (name.into(), path.into());
        let request = DownloadArtifactRequest { name: name.clone(), path: path.clone(), offset: 0 };
        let mut stream = self.service.clone().download_artifact(request).await?.into_inner();
        match stream.message().await?.and_then(|first| first.part) {
            Some(artifact_part::Part::Artifact(artifact)) => {
                names::check_artifact(&artifact, &name, &path)?;
                let hasher = Sha256Hasher::default();
                Ok(ArtifactDownload { artifact, stream, hasher, received_bytes: 0 })
            }
            _ => Err(ClientError::Protocol("a download that doesn't begin with its artifact")),
        }
    }

    /// Begins to read a whole bundle as a ZIP file.
    ///
    /// # Errors
    /// The server's refusal.
    pub async fn open_bundle(
        &self,
        name: impl Into<String>,
    ) -> Result<BundleDownload, ClientError> {
        let name = name.into();
        let request = DownloadBundleRequest { name: name.clone() };
        let mut stream = self.service.clone().download_bundle(request).await?.into_inner();
        match stream.message().await?.and_then(|first| first.part) {
            Some(bundle_part::Part::Archive(archive)) => {
                names::check_archive(&archive, &name)?;
                Ok(BundleDownload { archive, stream })
            }
            _ => Err(ClientError::Protocol("a download that doesn't begin with its archive")),
        }
    }
}

/// A file of a bundle on its way here.
pub struct ArtifactDownload {
    artifact: Artifact,
    stream: Streaming<DownloadArtifactResponse>,
    hasher: Sha256Hasher,
    received_bytes: u64,
}

impl ArtifactDownload {
    /// What the file is.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// The next bytes. `None` comes only after the whole file was checked.
    ///
    /// # Errors
    /// The server's refusal, and [`ClientError::Damaged`] where other bytes came.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.stream.message().await? {
            Some(DownloadArtifactResponse { part: Some(artifact_part::Part::Data(data)) }) => {
                self.received_bytes += data.len() as u64;
                let size_bytes = u64::try_from(self.artifact.size_bytes).unwrap_or_default();
                if self.received_bytes > size_bytes {
                    let path = self.artifact.path.clone();
                    let message = format!("more bytes came than the {size_bytes} that it has");
                    return Err(ClientError::Damaged { path, message });
                }
                self.hasher.update(&data);
                Ok(Some(data))
            }
            Some(_) => Err(ClientError::Protocol("a download with something else than bytes")),
            None => self.check().map(|()| None),
        }
    }

    fn check(&mut self) -> Result<(), ClientError> {
        let digest = std::mem::take(&mut self.hasher).finish();
        let damaged = |message| ClientError::Damaged { path: self.artifact.path.clone(), message };
        if u64::try_from(self.artifact.size_bytes) != Ok(self.received_bytes) {
            return Err(damaged(format!(
                "{} bytes came instead of {}",
                self.received_bytes, self.artifact.size_bytes
            )));
        }
        if self.artifact.sha256.parse::<Sha256>() != Ok(digest) {
            return Err(damaged(format!(
                "its SHA-256 is {digest} instead of {}",
                self.artifact.sha256
            )));
        }
        Ok(())
    }
}

/// A bundle's ZIP file on its way here.
#[derive(Debug)]
pub struct BundleDownload {
    archive: BundleArchive,
    stream: Streaming<DownloadBundleResponse>,
}

impl BundleDownload {
    /// What the archive is.
    pub fn archive(&self) -> &BundleArchive {
        &self.archive
    }

    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// The server's refusal, such as DATA_LOSS where an artifact is not what the manifest says.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.stream.message().await? {
            Some(DownloadBundleResponse { part: Some(bundle_part::Part::Data(data)) }) => {
                Ok(Some(data))
            }
            Some(_) => Err(ClientError::Protocol("a download with something else than bytes")),
            None => Ok(None),
        }
    }
}
