//! Follows event streams and checks how they end.

use tara_export_client::proto::{
    Accepted, Completed, Export, ExportEvent, Failed, StartExportRequest, WatchExportRequest,
    export_event::Event,
};
use tonic::{Status, Streaming};

use super::{Client, within};

/// A finished stream: its events and how it ended.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) events: Vec<ExportEvent>,
    pub(crate) end: Result<(), Status>,
}

/// Starts an export and follows it to its end.
pub(crate) async fn export(client: &mut Client, request: StartExportRequest) -> Followed {
    let stream = within("the StartExport response", client.start_export(request)).await.unwrap();
    follow(stream.into_inner()).await
}

/// Starts an export and asserts that it is committed.
pub(crate) async fn committed(client: &mut Client, request: StartExportRequest) -> Export {
    export(client, request).await.completed()
}

/// Starts an export and asserts that it is refused.
pub(crate) async fn refused(client: &mut Client, request: StartExportRequest) -> Status {
    within("the StartExport response", client.start_export(request)).await.unwrap_err()
}

/// Watches an export to its end, from its first event.
pub(crate) async fn watch(client: &mut Client, name: &str) -> Followed {
    let request = WatchExportRequest { name: name.to_owned(), ..WatchExportRequest::default() };
    let stream = within("the WatchExport response", client.watch_export(request)).await.unwrap();
    follow(stream.into_inner()).await
}

pub(crate) async fn follow(mut stream: Streaming<ExportEvent>) -> Followed {
    let mut events = Vec::new();
    let end = loop {
        match within("the next event", stream.message()).await {
            Ok(Some(event)) => events.push(event),
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    Followed { events, end }
}

/// The next event of a stream. Panics if the stream ends first.
pub(crate) async fn next(stream: &mut Streaming<ExportEvent>) -> ExportEvent {
    within("the next event", stream.message()).await.unwrap().expect("the stream continues")
}

/// The content of `accepted`, the first event of a stream.
pub(crate) fn accepted(event: Option<Event>) -> Accepted {
    match event {
        Some(Event::Accepted(accepted)) => accepted,
        other => panic!("the first event is {other:?}"),
    }
}

/// The next event that matches `condition`.
pub(crate) async fn next_where(
    stream: &mut Streaming<ExportEvent>,
    condition: impl Fn(&Event) -> bool,
) -> ExportEvent {
    loop {
        let event = next(stream).await;
        if event.event.as_ref().is_some_and(&condition) {
            return event;
        }
    }
}

impl Followed {
    /// The kinds of the events, each with its artifact path if it has one.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events.iter().map(kind).collect()
    }

    /// The committed export. Asserts that the stream ended with OK.
    pub(crate) fn completed(&self) -> Export {
        assert!(self.end.is_ok(), "{:?}", self.end);
        match self.events.last().and_then(|event| event.event.clone()) {
            Some(Event::Completed(Completed { export: Some(export) })) => export,
            other => panic!("the last event is {other:?}"),
        }
    }

    /// The failure. Asserts that the stream ended with an error.
    pub(crate) fn failed(&self) -> (Failed, Status) {
        let status = self.end.clone().expect_err("a failed export's stream ends with an error");
        match self.events.last().and_then(|event| event.event.clone()) {
            Some(Event::Failed(failed)) => (failed, status),
            other => panic!("the last event is {other:?}"),
        }
    }

    /// The events with a sequence number of their own, without progress and heartbeats.
    pub(crate) fn numbered(&self) -> Vec<&ExportEvent> {
        self.events
            .iter()
            .filter(|event| {
                !matches!(event.event, Some(Event::ArtifactProgress(_) | Event::Heartbeat(_)))
            })
            .collect()
    }
}

pub(crate) fn kind(event: &ExportEvent) -> String {
    match event.event.as_ref().expect("every event has a kind") {
        Event::Accepted(_) => "accepted".to_owned(),
        Event::ArtifactStarted(update) => format!("started {}", update.path),
        Event::ArtifactProgress(update) => format!("progress {}", update.path),
        Event::ArtifactRetrying(update) => format!("retrying {}", update.path),
        Event::ArtifactStored(update) => format!("stored {}", update.path),
        Event::FellBack(_) => "fell_back".to_owned(),
        Event::Heartbeat(_) => "heartbeat".to_owned(),
        Event::Completed(_) => "completed".to_owned(),
        Event::Failed(_) => "failed".to_owned(),
    }
}
