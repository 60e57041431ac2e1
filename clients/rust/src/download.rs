//! Downloads of files and complete bundles.

use std::time::Duration;

use bytes::Bytes;
use tara_export_digest::{Sha256, Sha256Hasher};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tonic::Streaming;

use super::{Client, ClientError, connect::ApiClient, names};
use crate::proto::{
    Artifact, BundleArchive, CreateDownloadLinkRequest, CreateDownloadLinkResponse,
    DownloadArtifactRequest, DownloadArtifactResponse, DownloadBundleRequest,
    DownloadBundleResponse, download_artifact_response as artifact_part,
    download_bundle_response as bundle_part,
};

impl Client {
    /// Downloads one file of a bundle and verifies it against the manifest's digest. `path` is
    /// relative to the bundle's folder.
    ///
    /// # Errors
    /// The server's rejection, [`ClientError::Damaged`] if other bytes were received, and
    /// [`ClientError::Write`]. Do not use the written bytes after an error.
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

    /// Downloads a complete bundle as a ZIP file.
    ///
    /// # Errors
    /// The server's rejection, and [`ClientError::Write`]. Do not use the written bytes after an error.
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

    /// Creates a link with which anyone can download one file of a bundle in S3 until the link expires.
    /// `path` is relative to the bundle's folder. The default of `time_to_live` is the server's. The
    /// response contains the actual expiry time.
    ///
    /// # Errors
    /// The server's rejection, such as STORED_LOCALLY for a bundle that is not in S3.
    pub async fn create_download_link(
        &self,
        name: impl Into<String>,
        path: impl Into<String>,
        time_to_live: Option<Duration>,
    ) -> Result<CreateDownloadLinkResponse, ClientError> {
        // Only durations over 292 billion years do not fit. The server rejects the maximum too.
        let max = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
        let name = name.into();
        let request = CreateDownloadLinkRequest {
            name: name.clone(),
            path: path.into(),
            time_to_live: time_to_live.map(|requested| requested.try_into().unwrap_or(max)),
        };
        let link: CreateDownloadLinkResponse = self
            .call(request, |mut service: ApiClient, request| async move {
                service.create_download_link(request).await
            })
            .await?;
        names::check_link(&link.uri, &name)?;
        Ok(link)
    }

    /// Starts to download one file of a bundle.
    ///
    /// # Errors
    /// The server's rejection.
    pub async fn open_artifact(
        &self,
        name: impl Into<String>,
        path: impl Into<String>,
    ) -> Result<ArtifactDownload, ClientError> {
        let (name, path) = (name.into(), path.into());
        let request = DownloadArtifactRequest { name: name.clone(), path: path.clone(), offset: 0 };
        let response = self.service.call(|mut service: ApiClient| {
            let request = request.clone();
            async move { service.download_artifact(request).await }
        });
        let mut stream = response.await?.into_inner();
        match stream.message().await?.and_then(|first| first.part) {
            Some(artifact_part::Part::Artifact(artifact)) => {
                names::check_artifact(&artifact, &name, &path)?;
                let hasher = Sha256Hasher::default();
                Ok(ArtifactDownload { artifact, stream, hasher, received_bytes: 0 })
            }
            _ => Err(ClientError::Protocol("download does not start with its artifact")),
        }
    }

    /// Starts to download a complete bundle as a ZIP file.
    ///
    /// # Errors
    /// The server's rejection.
    pub async fn open_bundle(
        &self,
        name: impl Into<String>,
    ) -> Result<BundleDownload, ClientError> {
        let name = name.into();
        let request = DownloadBundleRequest { name: name.clone() };
        let response = self.service.call(|mut service: ApiClient| {
            let request = request.clone();
            async move { service.download_bundle(request).await }
        });
        let mut stream = response.await?.into_inner();
        match stream.message().await?.and_then(|first| first.part) {
            Some(bundle_part::Part::Archive(archive)) => {
                names::check_archive(&archive, &name)?;
                Ok(BundleDownload { archive, stream })
            }
            _ => Err(ClientError::Protocol("download does not start with its archive")),
        }
    }
}

/// A download of one file.
pub struct ArtifactDownload {
    artifact: Artifact,
    stream: Streaming<DownloadArtifactResponse>,
    hasher: Sha256Hasher,
    received_bytes: u64,
}

impl ArtifactDownload {
    /// The file's metadata.
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// Returns the next bytes, or `None` after size and digest were verified.
    ///
    /// # Errors
    /// The server's rejection, and [`ClientError::Damaged`] if other bytes were received.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.stream.message().await? {
            Some(DownloadArtifactResponse { part: Some(artifact_part::Part::Data(data)) }) => {
                self.received_bytes += data.len() as u64;
                let size_bytes = u64::try_from(self.artifact.size_bytes).unwrap_or_default();
                if self.received_bytes > size_bytes {
                    let path = self.artifact.path.clone();
                    let message = format!("received more than its {size_bytes} bytes");
                    return Err(ClientError::Damaged { path, message });
                }
                self.hasher.update(&data);
                Ok(Some(data))
            }
            Some(_) => Err(ClientError::Protocol("download contains a part without data")),
            None => self.verify().map(|()| None),
        }
    }

    fn verify(&mut self) -> Result<(), ClientError> {
        let digest = std::mem::take(&mut self.hasher).finish();
        let damaged = |message| ClientError::Damaged { path: self.artifact.path.clone(), message };
        if u64::try_from(self.artifact.size_bytes) != Ok(self.received_bytes) {
            return Err(damaged(format!(
                "received {} bytes instead of {}",
                self.received_bytes, self.artifact.size_bytes
            )));
        }
        if self.artifact.sha256.parse::<Sha256>() != Ok(digest) {
            return Err(damaged(format!(
                "SHA-256 is {digest} instead of {}",
                self.artifact.sha256
            )));
        }
        Ok(())
    }
}

/// A download of a bundle as a ZIP file. The server verifies each file in it.
#[derive(Debug)]
pub struct BundleDownload {
    archive: BundleArchive,
    stream: Streaming<DownloadBundleResponse>,
}

impl BundleDownload {
    /// The archive's metadata.
    pub fn archive(&self) -> &BundleArchive {
        &self.archive
    }

    /// Returns the next bytes, or `None` after the last.
    ///
    /// # Errors
    /// The server's rejection, such as DATA_LOSS if an artifact does not match the manifest.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        match self.stream.message().await? {
            Some(DownloadBundleResponse { part: Some(bundle_part::Part::Data(data)) }) => {
                Ok(Some(data))
            }
            Some(_) => Err(ClientError::Protocol("download contains a part without data")),
            None => Ok(None),
        }
    }
}
