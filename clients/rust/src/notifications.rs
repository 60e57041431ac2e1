//! Notifications: their events and targets.

use futures::Stream;

use super::{Client, ClientError, connect::AutomationClient, names, paging};
use crate::proto::{
    Event, ListEventsRequest, ListEventsResponse, ListTargetsRequest, ListTargetsResponse,
    RetryEventsRequest, RetryEventsResponse, TestTargetRequest, TestTargetResponse,
};

impl paging::PageRequest for ListEventsRequest {
    fn set_page_token(&mut self, token: String) {
        self.page_token = token;
    }
}

impl Client {
    /// Reads one page of the server's events, oldest first.
    ///
    /// # Errors
    /// The server's rejection, such as FAILED_PRECONDITION with the reason NOTIFICATIONS_OFF.
    pub async fn list_events_page(
        &self,
        request: ListEventsRequest,
    ) -> Result<ListEventsResponse, ClientError> {
        let call = |mut service: AutomationClient, request| async move {
            service.list_events(request).await
        };
        let page: ListEventsResponse = self.call(request, call).await?;
        page.events.iter().try_for_each(names::check_listed_event)?;
        Ok(page)
    }

    /// Lists all events of the server that match the request, oldest first. Pages are fetched on demand.
    /// The stream ends after its first error.
    pub fn list_events(
        &self,
        request: ListEventsRequest,
    ) -> impl Stream<Item = Result<Event, ClientError>> + Send + Unpin + 'static {
        let client = self.clone();
        paging::items(request, move |request| {
            let client = client.clone();
            async move {
                let page = client.list_events_page(request).await?;
                Ok((page.events, page.next_page_token))
            }
        })
    }

    /// Delivers dead letters again, or events of committed exports that were never written.
    ///
    /// # Errors
    /// The server's rejection, such as INVALID_ARGUMENT if the request names no events.
    pub async fn retry_events(
        &self,
        request: RetryEventsRequest,
    ) -> Result<RetryEventsResponse, ClientError> {
        let call = |mut service: AutomationClient, request| async move {
            service.retry_events(request).await
        };
        self.call(request, call).await
    }

    /// Lists the targets of notifications and their state.
    ///
    /// # Errors
    /// The server's rejection.
    pub async fn list_targets(&self) -> Result<ListTargetsResponse, ClientError> {
        let call = |mut service: AutomationClient, request| async move {
            service.list_targets(request).await
        };
        self.call(ListTargetsRequest {}, call).await
    }

    /// Sends a test event to a target, and returns its answer. As every unary call, it is repeated while the server is
    /// unavailable, so the target can receive the event twice.
    ///
    /// # Errors
    /// The server's rejection. A target that does not accept the event is not an error, but
    /// [`TestTargetResponse::delivered`] is false.
    pub async fn test_target(
        &self,
        target: impl Into<String>,
    ) -> Result<TestTargetResponse, ClientError> {
        let call = |mut service: AutomationClient, request| async move {
            service.test_target(request).await
        };
        self.call(TestTargetRequest { target: target.into() }, call).await
    }
}
