//! Those who send reviews, and write down what they were told.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use tara_export::{
    client::{Client, FollowPolicy},
    proto::{
        Destination, Document, Fallback, Review, StartExportRequest,
        document::{Kind, Source},
        export_event::Event,
    },
};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::ledger::{Guidelines, Ledger, Wish};

/// Nobody waits for a server that was killed: the next process is asked anew.
const IMPATIENT: FollowPolicy = FollowPolicy {
    patience: Duration::ZERO,
    silence: Duration::from_secs(30),
    min_delay: Duration::from_millis(1),
    max_delay: Duration::from_millis(1),
};

/// Sends a review and follows it as far as the server lives.
pub(crate) fn send(url: &str, ledger: &Arc<Ledger>, wish: Wish) -> JoinHandle<()> {
    let (url, ledger) = (url.to_owned(), ledger.clone());
    ledger.asked(wish);
    tokio::spawn(async move {
        let Ok(client) = Client::connect(&url).await else { return };
        let client = client.with_follow_policy(IMPATIENT);
        let mut request = request(wish);
        if wish.guidelines == Guidelines::Uploaded {
            match client.upload_file(&uploaded_file(wish), |_| {}).await {
                Ok(uploaded) => request.documents.push(Document {
                    kind: Kind::Guidelines.into(),
                    source: Some(Source::Upload(uploaded.name)),
                    ..Document::default()
                }),
                Err(error) => return ledger.ended(wish, &error),
            }
        }
        let mut events = client.export(request);
        while let Some(event) = events.next().await {
            match event.map(|event| event.event) {
                Ok(Some(Event::Accepted(_))) => ledger.accepted(wish),
                Ok(Some(Event::Completed(completed))) => {
                    ledger.completed(wish, completed.export.expect("an export"));
                }
                Ok(Some(Event::Failed(_))) => ledger.failed(wish),
                Ok(_) => {}
                Err(error) => ledger.ended(wish, &error),
            }
        }
    })
}

/// A file of a few hundred kilobytes, the same each time.
fn uploaded_file(wish: Wish) -> PathBuf {
    let name = format!("crash-upload-{}.txt", wish.number);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let content = format!("{:8}\n", wish.number).repeat(40_000);
    if fs::read_to_string(&path).ok().as_ref() != Some(&content) {
        // By another name first, since tests run side by side.
        let aside = path.with_extension(Uuid::new_v4().to_string());
        fs::write(&aside, content).unwrap();
        fs::rename(aside, &path).unwrap();
    }
    path
}

/// The review: all of one document's name, so that they want the same folder.
pub(crate) fn request(wish: Wish) -> StartExportRequest {
    let document = |kind: Kind, content: Vec<u8>| Document {
        kind: kind.into(),
        source: Some(Source::Content(content.into())),
        ..Document::default()
    };
    let mut request = StartExportRequest {
        request_id: wish.export_id(),
        review: Some(Review {
            document_name: "report.docx".to_owned(),
            session_id: wish.session_id(),
            reviewer: "Ada".to_owned(),
            ..Review::default()
        }),
        documents: vec![
            document(Kind::Before, wish.session_id().into_bytes()),
            document(Kind::After, vec![wish.number as u8; 100_000]),
        ],
        ..StartExportRequest::default()
    };
    if wish.guidelines == Guidelines::Large {
        request.documents.push(document(Kind::Guidelines, vec![7; 17 * 1024 * 1024]));
    }
    request.set_destination(if wish.is_local { Destination::Local } else { Destination::S3 });
    request.set_fallback(if wish.no_fallback { Fallback::None } else { Fallback::Local });
    request
}
