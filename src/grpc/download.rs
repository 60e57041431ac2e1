//! Download streams of bundles and artifacts.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tara_export_catalog::{Archive, ReadError, StoredBundle, VerifiedArtifact};
use tara_export_limits::Pool;
use tonic::Status;

use super::{convert::artifact_message, failures::read_failed, status::invalid};
use crate::proto::{self, download_artifact_response, download_bundle_response};

/// The data of one message. A reader that stops reading keeps one whole message in memory.
const CHUNK_BYTES: usize = 64 * 1024;

/// A stream of responses.
pub(super) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Streams an artifact: its description, then its bytes from `offset` on.
pub(super) fn artifact_stream(
    artifact: VerifiedArtifact,
    offset: i64,
) -> Result<ResponseStream<proto::DownloadArtifactResponse>, Status> {
    use download_artifact_response::Part;

    let size_bytes = artifact.artifact().size_bytes;
    let in_range = u64::try_from(offset).ok().filter(|offset| *offset <= size_bytes);
    let offset = in_range.ok_or_else(|| {
        invalid("offset", format!("must be between 0 and the artifact's size, {size_bytes}"))
    })?;
    let message = |part| proto::DownloadArtifactResponse { part: Some(part) };
    let description = message(Part::Artifact(artifact_message(artifact.artifact())));
    let data = chunks(artifact.stream_from(offset)).map_ok(move |data| message(Part::Data(data)));
    Ok(Box::pin(stream::iter([Ok(description)]).chain(data)))
}

/// Streams a bundle as a ZIP file.
pub(super) async fn bundle_stream(
    bundle: Arc<StoredBundle>,
    archives: Pool,
) -> Result<ResponseStream<proto::DownloadBundleResponse>, Status> {
    use download_bundle_response::Part;

    let archive = Archive::new(bundle, archives).await.map_err(read_failed)?;
    let message = |part| proto::DownloadBundleResponse { part: Some(part) };
    let description = message(Part::Archive(proto::BundleArchive {
        file_name: archive.file_name(),
        media_type: "application/zip".to_owned(),
    }));
    let data = chunks(archive.stream()).map_ok(move |data| message(Part::Data(data)));
    Ok(Box::pin(stream::iter([Ok(description)]).chain(data)))
}

fn chunks(
    pieces: impl Stream<Item = Result<Bytes, ReadError>> + Send,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    pieces.map_err(read_failed).map_ok(|piece| stream::iter(split(piece)).map(Ok)).try_flatten()
}

fn split(mut piece: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!piece.is_empty()).then(|| piece.split_to(piece.len().min(CHUNK_BYTES)))
    })
}
