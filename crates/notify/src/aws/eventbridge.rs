//! Event buses of Amazon EventBridge.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_eventbridge::{
    Client, operation::describe_event_bus::DescribeEventBusError, primitives::DateTime,
    types::PutEventsRequestEntry,
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use tara_export_events::{Event, Names};
use tokio::time::Instant;

use super::{
    arn::Bus,
    client::{Caller, Endpoint, config},
    failure, message_of,
};
use crate::{SendError, SendErrorKind, Sender};

/// The source of the events, which rules match.
const SOURCE: &str = "tara-export";
/// How often the existence of the bus is checked. PutEvents to a missing bus succeeds, and the event is lost.
const EXISTENCE_INTERVAL: Duration = Duration::from_secs(300);

/// Puts each event on a bus.
pub(super) struct EventBridgeSender {
    bus: Bus,
    names: Names,
    client: Client,
    caller: Caller,
    /// The last time the bus was found, or that it could not be read for lack of the right.
    found: Mutex<Option<Instant>>,
}

impl fmt::Debug for EventBridgeSender {
    // Without the client, whose form has the endpoint.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("EventBridgeSender");
        shown.field("bus", &self.bus).field("caller", &self.caller);
        shown.finish_non_exhaustive()
    }
}

impl EventBridgeSender {
    pub(super) fn new(
        bus: Bus,
        region: Option<String>,
        names: Names,
        endpoint: Endpoint,
        caller: Caller,
    ) -> Self {
        let config = config(caller.sdk(), region, &endpoint);
        let mut builder = aws_sdk_eventbridge::config::Builder::from(&config);
        builder.set_endpoint_url(endpoint.0);
        let client = Client::from_conf(builder.build());
        Self { bus, names, client, caller, found: Mutex::new(None) }
    }

    async fn put(&self, event: &Event, action: &str) -> Result<(), SendError> {
        let detail = message_of(event, self.names);
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(self.bus.as_str())
            .source(SOURCE)
            .detail_type(event.event_type.cloud_event_type())
            .detail(detail)
            .resources(event.subject())
            .time(DateTime::from_millis(event.time.timestamp_millis()))
            .build();
        let put = self.client.put_events().entries(entry).send().await;
        let put = put.map_err(|error| self.caller.failed(action, "events:PutEvents", &error))?;
        // The call succeeds even if the bus did not take the entry.
        let refused = put.entries().iter().find_map(|entry| Some((entry.error_code()?, entry)));
        match refused {
            Some((code, entry)) => {
                let message = entry.error_message();
                Err(failure::of_code(None, Some(code), message, action, "events:PutEvents"))
            }
            None if put.failed_entry_count() > 0 || put.entries().len() != 1 => {
                let message = format!(
                    "cannot {action}: {} of 1 entries failed, and {} have a result",
                    put.failed_entry_count(),
                    put.entries().len()
                );
                Err(SendError::new(SendErrorKind::Unavailable, message))
            }
            None => Ok(()),
        }
    }

    async fn describe(&self) -> Result<(), SdkError<DescribeEventBusError, HttpResponse>> {
        self.client.describe_event_bus().name(self.bus.as_str()).send().await.map(|_| ())
    }

    /// Checks from time to time that the bus exists.
    async fn ensure_bus(&self, action: &str) -> Result<(), SendError> {
        let found = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.is_some_and(|found| found.elapsed() < EXISTENCE_INTERVAL) {
            return Ok(());
        }
        match self.describe().await {
            Ok(()) => {}
            // The bus of another account often allows only PutEvents.
            Err(error) if is_denied(&error) => tracing::warn!(
                bus = %self.bus,
                "cannot check that the event bus exists: the role of this server needs events:DescribeEventBus; \
                 events for a missing bus are lost"
            ),
            Err(error) => {
                return Err(self.caller.failed(action, "events:DescribeEventBus", &error));
            }
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }
}

fn is_denied(error: &SdkError<DescribeEventBusError, HttpResponse>) -> bool {
    let code = error.as_service_error().and_then(|error| error.meta().code());
    code.is_some_and(|code| code.starts_with("AccessDenied"))
}

#[async_trait]
impl Sender for EventBridgeSender {
    async fn send(&self, events: &[Event]) -> Result<(), SendError> {
        let action = format!("put the event on {}", self.bus);
        let work = async {
            self.ensure_bus(&action).await?;
            for event in events {
                self.put(event, &action).await?;
            }
            Ok(())
        };
        self.caller.within(&action, work).await
    }

    async fn check(&self) -> Result<(), SendError> {
        let action = format!("describe {}", self.bus);
        let work = async {
            self.describe()
                .await
                .map_err(|error| self.caller.failed(&action, "events:DescribeEventBus", &error))
        };
        self.caller.within(&action, work).await
    }
}
