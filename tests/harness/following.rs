//! Streams of events, followed and judged.

use tara_export::proto::{
    Completed, Export, ExportEvent, Failed, StartExportRequest, WatchExportRequest,
    export_event::Event,
};
use tonic::{Status, Streaming};

use crate::harness::{Client, within};

/// A stream that ended: what came, and how it ended.
#[derive(Debug)]
pub(crate) struct Followed {
    pub(crate) events: Vec<ExportEvent>,
    pub(crate) end: Result<(), Status>,
}

/// Starts an export and follows it to its end.
pub(crate) async fn export(client: &mut Client, request: StartExportRequest) -> Followed {
    let stream = within("StartExport answers", client.start_export(request)).await.unwrap();
    follow(stream.into_inner()).await
}

/// Starts an export that must be committed.
pub(crate) async fn committed(client: &mut Client, request: StartExportRequest) -> Export {
    export(client, request).await.completed()
}

/// Starts an export that must be refused.
pub(crate) async fn refused(client: &mut Client, request: StartExportRequest) -> Status {
    within("StartExport answers", client.start_export(request)).await.unwrap_err()
}

/// Watches an export to its end, from its first event.
pub(crate) async fn watch(client: &mut Client, name: &str) -> Followed {
    let request = WatchExportRequest { name: name.to_owned(), ..WatchExportRequest::default() };
    let stream = within("WatchExport answers", client.watch_export(request)).await.unwrap();
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

/// The next event of a stream that must have one.
pub(crate) async fn next(stream: &mut Streaming<ExportEvent>) -> ExportEvent {
    within("the next event", stream.message()).await.unwrap().expect("the stream goes on")
}

/// The next event for which this holds.
pub(crate) async fn next_where(
    stream: &mut Streaming<ExportEvent>,
    wanted: impl Fn(&Event) -> bool,
) -> ExportEvent {
    loop {
        let event = next(stream).await;
        if event.event.as_ref().is_some_and(&wanted) {
            return event;
        }
    }
}

impl Followed {
    /// The events in short: their kinds, with the artifact's path where there is one.
    pub(crate) fn kinds(&self) -> Vec<String> {
        self.events.iter().map(kind).collect()
    }

    /// The committed export; its stream ended with OK.
    pub(crate) fn completed(&self) -> Export {
        assert!(self.end.is_ok(), "{:?}", self.end);
        match self.events.last().and_then(|event| event.event.clone()) {
            Some(Event::Completed(Completed { export: Some(export) })) => export,
            other => panic!("the last event is {other:?}"),
        }
    }

    /// The failure; its stream ended with an error.
    pub(crate) fn failed(&self) -> (Failed, Status) {
        let status = self.end.clone().expect_err("a failed export's stream ends with an error");
        match self.events.last().and_then(|event| event.event.clone()) {
            Some(Event::Failed(failed)) => (failed, status),
            other => panic!("the last event is {other:?}"),
        }
    }

    /// The events that count, without those that only repeat the last number.
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
