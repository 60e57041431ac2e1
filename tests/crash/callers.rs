//! Callers that send reviews and record the events in the ledger.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use tara_export_client::{
    Client, FollowPolicy,
    proto::{
        Destination, Document, Fallback, Review, StartExportRequest,
        document::{Kind, Source},
        export_event::Event,
    },
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::ledger::{ExportCase, Guidelines, Ledger};

/// No retries: after a kill, the test sends the request to the next process.
pub(crate) const NO_RETRY: FollowPolicy = FollowPolicy {
    progress_timeout: Duration::ZERO,
    idle_timeout: Duration::from_secs(30),
    min_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(1),
};

/// Sends a review and follows its events until the stream ends.
pub(crate) fn send(url: &str, ledger: &Arc<Ledger>, case: ExportCase) -> JoinHandle<()> {
    let (url, ledger) = (url.to_owned(), ledger.clone());
    ledger.record_sent(case);
    tokio::spawn(async move {
        let Ok(client) = Client::connect(&url).await else { return };
        let client = client.with_follow_policy(NO_RETRY);
        let mut request = request(case);
        if case.guidelines == Guidelines::Uploaded {
            match client.upload_file(&uploaded_file(case), |_| {}).await {
                Ok(uploaded) => request.documents.push(Document {
                    kind: Kind::Guidelines.into(),
                    source: Some(Source::Upload(uploaded.name)),
                    ..Document::default()
                }),
                Err(error) => return ledger.ended(case, &error),
            }
        }
        let mut events = client.export(request);
        while let Some(event) = events.next().await {
            match event.map(|event| event.event) {
                Ok(Some(Event::Accepted(_))) => ledger.accepted(case),
                Ok(Some(Event::Completed(completed))) => {
                    ledger.completed(case, completed.export.expect("an export"));
                }
                Ok(Some(Event::Failed(_))) => ledger.failed(case),
                Ok(_) => {}
                Err(error) => ledger.ended(case, &error),
            }
        }
    })
}

/// A file of 360 kB with the same content each time.
pub(crate) fn uploaded_file(case: ExportCase) -> PathBuf {
    let name = format!("crash-upload-{}.txt", case.number);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let content = format!("{:8}\n", case.number).repeat(40_000);
    if fs::read_to_string(&path).ok().as_ref() != Some(&content) {
        // Written under a temporary name because tests run concurrently.
        let temporary = path.with_extension(Uuid::new_v4().to_string());
        fs::write(&temporary, content).unwrap();
        fs::rename(temporary, &path).unwrap();
    }
    path
}

/// The request. All reviews have the same document name, so that they compete for one folder.
pub(crate) fn request(case: ExportCase) -> StartExportRequest {
    let document = |kind: Kind, content: Vec<u8>| Document {
        kind: kind.into(),
        source: Some(Source::Content(content.into())),
        ..Document::default()
    };
    let mut request = StartExportRequest {
        request_id: case.export_id(),
        review: Some(Review {
            document_name: "report.docx".to_owned(),
            session_id: case.session_id(),
            reviewer: "Ada".to_owned(),
            ..Review::default()
        }),
        documents: vec![
            document(Kind::Before, case.session_id().into_bytes()),
            document(Kind::After, vec![case.number as u8; 100_000]),
        ],
        ..StartExportRequest::default()
    };
    if case.guidelines == Guidelines::Large {
        request.documents.push(document(Kind::Guidelines, vec![7; 17 * 1024 * 1024]));
    }
    request.set_destination(if case.is_local { Destination::Local } else { Destination::S3 });
    request.set_fallback(if case.no_fallback { Fallback::None } else { Fallback::Local });
    request
}
