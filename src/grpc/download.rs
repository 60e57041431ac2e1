//! Streams of a bundle's bytes.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tonic::Status;

use super::{convert::artifact_message, status::invalid};
use crate::{
    catalog::{ReadError, StoredBundle, VerifiedArtifact, zip},
    limits::Pool,
    proto::{self, download_artifact_response, download_bundle_response},
};

/// Bytes of a message. A reader that stands still holds one message whole.
const CHUNK_BYTES: usize = 64 * 1024;

/// A stream of responses.
pub(super) type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// One file: its description, then its bytes from this offset on.
pub(super) fn artifact_stream(
    artifact: VerifiedArtifact,
    offset: i64,
) -> Result<ResponseStream<proto::DownloadArtifactResponse>, Status> {
    use download_artifact_response::Part;

    let size_bytes = artifact.artifact().size_bytes;
    let in_range = u64::try_from(offset).ok().filter(|offset| *offset <= size_bytes);
    let offset =
        in_range.ok_or_else(|| invalid("offset", format!("0 to the file's size, {size_bytes}")))?;
    let message = |part| proto::DownloadArtifactResponse { part: Some(part) };
    let description = message(Part::Artifact(artifact_message(artifact.artifact())));
    let data = chunks(artifact.stream_from(offset)).map_ok(move |data| message(Part::Data(data)));
    Ok(Box::pin(stream::iter([Ok(description)]).chain(data)))
}

/// A whole bundle as a ZIP file.
pub(super) fn bundle_stream(
    bundle: Arc<StoredBundle>,
    archives: Pool,
) -> ResponseStream<proto::DownloadBundleResponse> {
    use download_bundle_response::Part;

    let message = |part| proto::DownloadBundleResponse { part: Some(part) };
    let description = message(Part::Archive(proto::BundleArchive {
        file_name: format!("{}.zip", bundle.folder()),
        media_type: "application/zip".to_owned(),
    }));
    let data = chunks(zip(bundle, archives)).map_ok(move |data| message(Part::Data(data)));
    Box::pin(stream::iter([Ok(description)]).chain(data))
}

fn chunks(
    pieces: impl Stream<Item = Result<Bytes, ReadError>> + Send,
) -> impl Stream<Item = Result<Bytes, Status>> + Send {
    pieces.map_err(Status::from).map_ok(|piece| stream::iter(split(piece)).map(Ok)).try_flatten()
}

fn split(mut piece: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!piece.is_empty()).then(|| piece.split_to(piece.len().min(CHUNK_BYTES)))
    })
}
