//! The exported review.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytesize::ByteSize;
use futures::TryStreamExt as _;
use tara_export_client::{
    Client, ClientError,
    proto::{
        Destination, Document, Export, Fallback, StartExportRequest, document::Source,
        export_event::Event,
    },
    session,
};

/// `examples/sample-review`: 12 files and a manifest, 94 KiB together.
pub(crate) fn sample() -> StartExportRequest {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sample-review");
    session::read_folder(&folder).expect("the sample is readable").request
}

/// The sample with larger documents: 12 files and a manifest, 250 KiB together.
pub(crate) fn quarter_mebibyte() -> StartExportRequest {
    const ADDED_BYTES: usize = 156 * 1024;
    let request = sample();
    let documents = request.documents.len();
    resized(request, |length| length + ADDED_BYTES / documents)
}

/// The sample with documents of this size.
pub(crate) fn with_documents_of(size: ByteSize) -> StartExportRequest {
    let length = usize::try_from(size.as_u64()).expect("a size that fits into memory");
    resized(sample(), |_| length)
}

fn resized(
    mut request: StartExportRequest,
    new_length: impl Fn(usize) -> usize,
) -> StartExportRequest {
    for document in &mut request.documents {
        if let Some(Source::Content(content)) = &mut document.source {
            // Nothing compresses the data in transit, so the added bytes need not be random.
            let mut enlarged = content.to_vec();
            enlarged.resize(new_length(content.len()), b'.');
            *content = enlarged.into();
            document.sha256.clear();
        }
    }
    request
}

/// The request with another document name, for S3 without fallback. The same name in the same
/// second would measure the search for a free folder.
pub(crate) fn named(request: &StartExportRequest, name: &str) -> StartExportRequest {
    let mut request = request.clone();
    if let Some(review) = &mut request.review {
        review.document_name = format!("{name}.docx");
    }
    request.destination = Destination::S3.into();
    request.fallback = Fallback::None.into();
    request
}

/// The same review with one uploaded document.
pub(crate) fn with_upload(
    request: &StartExportRequest,
    upload: &tara_export_client::UploadedFile,
) -> StartExportRequest {
    let mut request = request.clone();
    let document = Document {
        sha256: upload.sha256.to_string(),
        source: Some(Source::Upload(upload.name.clone())),
        ..request.documents.first().cloned().unwrap_or_default()
    };
    request.documents = vec![document];
    request
}

/// Exports; returns the time from the call to `completed`.
pub(crate) async fn export(
    client: &Client,
    request: StartExportRequest,
) -> Result<(Export, Duration), ClientError> {
    let started = Instant::now();
    let mut events = client.export(request);
    while let Some(event) = events.try_next().await? {
        if let Some(Event::Completed(completed)) = event.event {
            let elapsed = started.elapsed();
            let export = completed.export;
            return Ok((export.ok_or(ClientError::Protocol("no export"))?, elapsed));
        }
    }
    Err(ClientError::Protocol("the export did not complete"))
}
