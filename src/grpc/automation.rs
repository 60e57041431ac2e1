//! The automation service: events of exports, the targets that get them, and jobs.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use tara_export_catalog::Catalog;
use tara_export_clock::Clock;
use tara_export_events::EventId;
use tara_export_notify::{AllowedRecipients, Target};
use tonic::{Code, Request, Response, Status};

use super::{
    access::record_access,
    caller,
    convert::{
        event_from_token, event_query, event_view_message, events_token, job_message, page_size,
        run_message, target_message, time,
    },
    failures::{read_failed, store_failed},
    readers::Readers,
    response_memory::response_with,
    status::{internal_error, invalid, status},
};
use crate::{
    jobs::{Jobs, RunError},
    notifications::{Notifications, OutboxError, RetryError, RetryRequest},
    proto::{self, automation_service_server::AutomationService},
};

/// The memory that is reserved for one event of a page.
const LISTED_BYTES: u64 = 8 * 1024;
/// The memory that is reserved for the list of targets.
const TARGETS_BYTES: u64 = 256 * 1024;
/// The memory that is reserved for the list of jobs.
const JOBS_BYTES: u64 = 64 * 1024;
/// Ids in one RetryEvents request.
const MAX_EVENT_IDS: usize = 1_000;

/// The notifications and jobs of a server, as its API needs them.
#[derive(Debug, Clone, Default)]
pub struct Automation {
    /// `None` without `NOTIFY_FILE`.
    pub notifications: Option<Notifications>,
    /// The addresses that requests may name; the setting `NOTIFY_RECIPIENTS`.
    pub recipients: AllowedRecipients,
    /// `None` without `JOBS_FILE`.
    pub jobs: Option<Jobs>,
}

impl Automation {
    /// The addresses that requests may name now: none if no target sends mails to them.
    pub(super) fn allowed_recipients(&self) -> AllowedRecipients {
        let accepts = self.notifications.as_ref().is_some_and(Notifications::accepts_recipients);
        if accepts { self.recipients.clone() } else { AllowedRecipients::default() }
    }
}

/// The automation service.
#[derive(Debug, Clone)]
pub struct AutomationApi {
    api: Automation,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    readers: Readers,
}

impl AutomationApi {
    /// Creates the service.
    pub(super) fn new(
        api: Automation,
        catalog: Catalog,
        clock: Arc<dyn Clock>,
        readers: Readers,
    ) -> Self {
        Self { api, catalog, clock, readers }
    }

    fn notifications(&self) -> Result<&Notifications, Status> {
        self.api.notifications.as_ref().ok_or_else(|| {
            status(
                Code::FailedPrecondition,
                "NOTIFICATIONS_OFF",
                "this server sends no notifications: set NOTIFY_FILE to a file with targets",
            )
        })
    }
}

#[tonic::async_trait]
impl AutomationService for AutomationApi {
    async fn list_events(
        &self,
        request: Request<proto::ListEventsRequest>,
    ) -> Result<Response<proto::ListEventsResponse>, Status> {
        let key = caller::key(request.extensions());
        let request = request.into_inner();
        record_access(&request.export, "");
        let page_size = page_size(request.page_size)?;
        let mut query = event_query(&request, page_size)?;
        query.after = event_from_token(&request)?;
        let notifications = self.notifications()?;
        let permit = self.readers.reserve_response(&key, page_size as u64 * LISTED_BYTES).await?;
        let listed = notifications.list(&query).await.map_err(|error| outbox_failed(&error))?;
        let response = proto::ListEventsResponse {
            events: listed.events.iter().map(event_view_message).collect(),
            next_page_token: events_token(listed.next, &request),
        };
        Ok(response_with(permit, response))
    }

    async fn retry_events(
        &self,
        request: Request<proto::RetryEventsRequest>,
    ) -> Result<Response<proto::RetryEventsResponse>, Status> {
        let request = request.into_inner();
        record_access("", &request.target);
        let retried = retry_request(&request, self.clock.now())?;
        let notifications = self.notifications()?;
        if !request.target.is_empty() {
            find_target(notifications, &request.target)?;
        }
        let retried = notifications.retry(&self.catalog, retried).await;
        let retried = retried.map_err(|error| match error {
            RetryError::Outbox(error) => outbox_failed(&error),
            RetryError::Catalog(error) => read_failed(error),
        })?;
        Ok(Response::new(proto::RetryEventsResponse {
            event_count: i64::try_from(retried.count).unwrap_or(i64::MAX),
            missing_event_ids: retried.missing.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn list_targets(
        &self,
        request: Request<proto::ListTargetsRequest>,
    ) -> Result<Response<proto::ListTargetsResponse>, Status> {
        let key = caller::key(request.extensions());
        record_access("", "");
        let Some(notifications) = &self.api.notifications else {
            return Ok(Response::new(proto::ListTargetsResponse::default()));
        };
        let permit = self.readers.reserve_response(&key, TARGETS_BYTES).await?;
        let response = proto::ListTargetsResponse {
            targets: notifications.targets().iter().map(target_message).collect(),
            file_error: notifications.file_error(),
        };
        Ok(response_with(permit, response))
    }

    async fn test_target(
        &self,
        request: Request<proto::TestTargetRequest>,
    ) -> Result<Response<proto::TestTargetResponse>, Status> {
        let target = request.into_inner().target;
        record_access(&target, "");
        let notifications = self.notifications()?;
        let found = find_target(notifications, &target)?;
        if found.is_for_requested {
            return Err(status(
                Code::FailedPrecondition,
                "TARGET_HAS_NO_ADDRESS",
                format!("the target {target} sends mails only to the notify_emails of a request"),
            ));
        }
        Ok(Response::new(match notifications.test(&found).await {
            Ok(()) => proto::TestTargetResponse { delivered: true, message: String::new() },
            Err(error) => {
                proto::TestTargetResponse { delivered: false, message: error.to_string() }
            }
        }))
    }

    async fn list_jobs(
        &self,
        request: Request<proto::ListJobsRequest>,
    ) -> Result<Response<proto::ListJobsResponse>, Status> {
        let key = caller::key(request.extensions());
        record_access("", "");
        let Some(jobs) = &self.api.jobs else {
            return Ok(Response::new(proto::ListJobsResponse::default()));
        };
        let permit = self.readers.reserve_response(&key, JOBS_BYTES).await?;
        let jobs = jobs.list().await.map_err(run_failed)?;
        let response = proto::ListJobsResponse { jobs: jobs.iter().map(job_message).collect() };
        Ok(response_with(permit, response))
    }

    async fn run_job(
        &self,
        request: Request<proto::RunJobRequest>,
    ) -> Result<Response<proto::RunJobResponse>, Status> {
        let proto::RunJobRequest { job, number } = request.into_inner();
        record_access(&job, "");
        let Ok(number) = u64::try_from(number) else {
            return Err(invalid("number", "must be 0 or greater"));
        };
        let Some(jobs) = &self.api.jobs else {
            return Err(status(
                Code::FailedPrecondition,
                "JOBS_OFF",
                "this server has no jobs: set JOBS_FILE to a file with jobs",
            ));
        };
        let run = match number {
            0 => jobs.run(&job).await,
            number => jobs.follow(&job, number).await,
        };
        let run = run_message(&run.map_err(run_failed)?);
        Ok(Response::new(proto::RunJobResponse { run: Some(run) }))
    }
}

/// The run cannot start, or cannot be found.
fn run_failed(error: RunError) -> Status {
    match error {
        RunError::Unknown(_) => invalid("job", error.to_string()),
        RunError::NoRun(_) => invalid("number", error.to_string()),
        RunError::Busy(_) => status(Code::FailedPrecondition, "JOB_RUNNING", error.to_string()),
        RunError::Stopping => status(Code::Unavailable, "SHUTTING_DOWN", error.to_string()),
        RunError::Store(error) => store_failed(error),
    }
}

/// The target of this name.
fn find_target(notifications: &Notifications, name: &str) -> Result<Target, Status> {
    let targets = notifications.targets();
    let found = targets.iter().find(|view| view.target.name.as_str() == name);
    found.map(|view| view.target.clone()).ok_or_else(|| {
        let names: Vec<&str> = targets.iter().map(|view| view.target.name.as_str()).collect();
        invalid("target", format!("must be a target of NOTIFY_FILE: {}", names.join(", ")))
    })
}

fn retry_request(
    request: &proto::RetryEventsRequest,
    now: DateTime<Utc>,
) -> Result<RetryRequest, Status> {
    let selectors =
        [!request.event_ids.is_empty(), request.all_dead, request.committed_since.is_some()];
    if selectors.iter().filter(|is_set| **is_set).count() != 1 {
        let message = "set one of event_ids, all_dead and committed_since";
        return Err(invalid("event_ids", message));
    }
    if request.committed_before.is_some() && request.committed_since.is_none() {
        return Err(invalid("committed_before", "needs committed_since"));
    }
    if let Some(since) = &request.committed_since {
        let since = time("committed_since", since)?;
        let before = match &request.committed_before {
            Some(before) => time("committed_before", before)?,
            None => now,
        };
        if !request.target.is_empty() {
            return Err(invalid("target", "must be empty with committed_since"));
        }
        return Ok(RetryRequest::Rebuild { since, before });
    }
    if request.event_ids.len() > MAX_EVENT_IDS {
        let message =
            format!("has {} ids; at most {MAX_EVENT_IDS} are allowed", request.event_ids.len());
        return Err(invalid("event_ids", message));
    }
    let mut event_ids: Vec<EventId> = Vec::new();
    for (number, text) in request.event_ids.iter().enumerate() {
        let field = format!("event_ids[{number}]");
        event_ids.push(text.parse().map_err(|_| invalid(&field, "must be the id of an event"))?);
    }
    Ok(RetryRequest::Dead {
        event_ids: (!request.all_dead).then_some(event_ids),
        target: (!request.target.is_empty()).then(|| request.target.clone()),
    })
}

fn outbox_failed(error: &OutboxError) -> Status {
    tracing::warn!(%error, "the events of this server cannot be read");
    internal_error()
}
