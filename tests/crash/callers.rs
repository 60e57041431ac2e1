//! Those who send reviews, and write down what they were told.

use std::{sync::Arc, time::Duration};

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

use crate::ledger::{Ledger, Wish};

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
        let mut events = client.with_follow_policy(IMPATIENT).export(request(wish));
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
    request.set_destination(if wish.is_local { Destination::Local } else { Destination::S3 });
    request.set_fallback(if wish.no_fallback { Fallback::None } else { Fallback::Local });
    request
}
