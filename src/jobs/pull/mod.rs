//! Jobs that get completed sessions from the review application, and export each of them.
//!
//! The source is asked page by page (`source.rs`, `page.rs`). Each page is a batch. The time up to which pages are
//! accepted is recorded after each of them. A run starts an overlap before it: sessions that the source learns of late
//! are found, and others are the same exports, because ids are those of sessions.

mod page;
mod source;
mod submit;

use std::path::PathBuf;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http::HeaderValue;
use tara_export_jobs::Pull;
use tara_export_limits::CallerKey;
use uuid::Uuid;

pub(super) use self::source::{Source, read_token};
use self::{page::Page, submit::Batch};
use super::{counted, run::Run};
use crate::export::{Permit, RequestMemory, RequestedContent, StartError};

/// Namespace of the ids of sessions: UUIDv5 of it and the job's name is the namespace of one job's sessions.
const NAMESPACE: Uuid = Uuid::from_u128(0x3d9f_0f0a_5c5e_4b0e_9a2f_7c1d_2e64_b8a1);
/// Faults of sessions that the end of a run has.
const MAX_FAULTS: usize = 5;
/// Maximum length of one of them.
const FAULT_LIMIT_CHARS: usize = 400;

/// Converts requests of pages. The API does: it knows their JSON, their rules, and the memory that they need.
#[async_trait]
pub trait ConvertRequests: std::fmt::Debug + Send + Sync {
    /// Converts each request by itself. A request without an id gets the UUIDv5 of the namespace and its session id.
    /// `memory` has the bytes of the texts, and is extended for what is made of them.
    ///
    /// # Errors
    /// If the server has not enough memory for them now.
    async fn convert(
        &self,
        requests: Vec<PulledRequest>,
        namespace: Uuid,
        memory: RequestMemory,
    ) -> Result<ConvertedRequests, String>;

    /// The reason of a refusal in UPPER_SNAKE_CASE, and its message.
    fn describe(&self) -> fn(StartError) -> (String, String);
}

/// A request of a page.
#[derive(Debug, Clone)]
pub struct PulledRequest {
    /// Its index on the page.
    pub index: usize,
    /// A `StartExportRequest` in protobuf's JSON.
    pub json: Bytes,
    /// Where it starts on the page: line and column, from 1.
    pub position: (usize, usize),
}

/// The requests of a page, converted.
pub struct ConvertedRequests {
    /// Those that are valid, each id once.
    pub valid: Vec<ConvertedRequest>,
    /// Indexes of the others, with their fields and faults.
    pub invalid: Vec<(usize, String)>,
    /// Reserves the memory of the valid ones.
    pub permit: Permit,
}

/// A valid request.
pub struct ConvertedRequest {
    /// Its index on the page.
    pub index: usize,
    /// Its id.
    pub request_id: Uuid,
    /// The review's session; may be empty.
    pub session_id: String,
    /// Its content.
    pub content: RequestedContent,
}

/// What a run has done so far.
#[derive(Debug, Default)]
struct Pulled {
    pages: u64,
    sessions: u64,
    stored: u64,
    fell_back: u64,
    refused: u64,
    failed: u64,
    faults: Vec<String>,
    /// The time up to which all sessions are accepted.
    until: Option<DateTime<Utc>>,
}

impl Pulled {
    /// Adds a session that was not exported.
    fn add_fault(&mut self, fault: &str) {
        if self.faults.len() < MAX_FAULTS {
            let page = self.pages + 1;
            let fault: String = fault.chars().take(FAULT_LIMIT_CHARS).collect();
            self.faults.push(format!("page {page}, {fault}"));
        }
    }

    fn summary(&self) -> String {
        let Self { pages, sessions, stored, fell_back, refused, failed, faults, until } = self;
        let until = until.map_or_else(|| "none".to_owned(), shown);
        let mut text = format!(
            "{} on {}: {stored} stored, {fell_back} fell back, {refused} refused, {failed} failed; cursor {until}",
            counted(*sessions, "session"),
            counted(*pages, "page")
        );
        for fault in faults {
            text.push_str("; ");
            text.push_str(fault);
        }
        match (refused + failed).saturating_sub(faults.len() as u64) {
            0 => text,
            more => format!("{text}; and {more} more"),
        }
    }
}

fn shown(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Exports the sessions that were completed since the last run. Returns what was done.
///
/// # Errors
/// If the source fails, or a session was not exported. Whatever was accepted before continues.
pub(super) async fn run(run: &Run<'_>, settings: &Pull) -> Result<String, String> {
    let context = &run.shared.context;
    let source = Source::new(settings, &context.outbound);
    let source = source.map_err(|fault| format!("\"url\" {fault}"))?;
    let token = match settings.token_file.clone() {
        Some(file) => Some(token_in(file).await?),
        None => None,
    };
    let known = run.shared.log.cursor(&run.job.name, &settings.url).await;
    let known = known.map_err(|error| format!("cannot read the cursor of the job: {error}"))?;
    let mut pulled = Pulled { until: known, ..Pulled::default() };
    let pulling = pages(run, settings, &source, token, &mut pulled).await;
    let summary = pulled.summary();
    match pulling {
        Err(error) => Err(format!("{error} ({summary})")),
        Ok(()) if pulled.refused + pulled.failed > 0 => Err(summary),
        Ok(()) => Ok(summary),
    }
}

async fn token_in(file: PathBuf) -> Result<HeaderValue, String> {
    let reading = tokio::task::spawn_blocking(move || read_token(&file)).await;
    let reading = reading.map_err(|error| error.to_string())?;
    reading.map_err(|fault| format!("\"token_file\": {fault}"))
}

async fn pages(
    run: &Run<'_>,
    settings: &Pull,
    source: &Source,
    token: Option<HeaderValue>,
    pulled: &mut Pulled,
) -> Result<(), String> {
    let context = &run.shared.context;
    let admission = context.engine.admission().clone();
    let limit_bytes = usize::try_from(admission.request_size_bytes()).unwrap_or(usize::MAX);
    let caller = CallerKey::named(&requested_by(run));
    let overlap = TimeDelta::from_std(settings.overlap).unwrap_or(TimeDelta::zero());
    let mut after = match pulled.until {
        Some(until) => until.checked_sub_signed(overlap).unwrap_or(DateTime::UNIX_EPOCH),
        None => settings.since.unwrap_or(DateTime::UNIX_EPOCH),
    };
    loop {
        run.set_progress(pulled.summary());
        let number = pulled.pages + 1;
        let on_page =
            |fault: String| format!("page {number} (completed_after {}): {fault}", shown(after));
        let mut memory = admission.request_memory(&caller);
        // For a page of unknown size.
        let reserved = memory.grow_to(limit_bytes as u64).await;
        reserved.map_err(|error| on_page(error.to_string()))?;
        let body =
            source.page(settings, token.clone(), after, limit_bytes).await.map_err(on_page)?;
        memory.shrink_to(body.len() as u64);
        let page =
            Page::parse(&body, after, settings.limit, context.clock.now()).map_err(on_page)?;
        let (count, cursor) = (page.requests.len(), page.cursor);
        let is_last = count < settings.limit;
        if !is_last && cursor.is_none_or(|cursor| cursor <= after) {
            return Err(on_page(format!(
                "the page is full, and its cursor does not advance: more than {} sessions have this time. Raise \
                 \"limit\", or correct the cursor of the source",
                settings.limit
            )));
        }
        let requests = page.requests.iter().enumerate().map(|(index, request)| PulledRequest {
            index,
            json: body.slice_ref(request.json.as_bytes()),
            position: request.position,
        });
        let requests: Vec<PulledRequest> = requests.collect();
        pulled.sessions += count as u64;
        let batch = Batch::submit(run, requests, memory, pulled).await.map_err(on_page)?;
        drop(body);
        pulled.until = pulled.until.into_iter().chain(cursor).max();
        if let Some(until) = pulled.until {
            let step = (run.number, number);
            let recorded = run.shared.log.advance(&run.job.name, step, &settings.url, until).await;
            recorded.map_err(|error| on_page(format!("cannot record the cursor: {error}")))?;
        }
        if let Some(batch) = batch {
            batch.follow(run, pulled).await.map_err(on_page)?;
        }
        pulled.pages = number;
        match cursor {
            Some(cursor) if !is_last => after = cursor,
            _ => return Ok(()),
        }
    }
}

/// The caller of the exports.
fn requested_by(run: &Run<'_>) -> String {
    format!("job:{}", run.job.name)
}

/// The namespace of the ids of this job's sessions.
fn namespace(run: &Run<'_>) -> Uuid {
    Uuid::new_v5(&NAMESPACE, run.job.name.as_str().as_bytes())
}
