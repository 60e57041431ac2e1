//! Lists of a server, page by page, for the commands that print or search them.

use tara_export_client::{
    Client, ClientError,
    proto::{ListEventsRequest, ListEventsResponse, ListExportsRequest, ListExportsResponse},
};

/// The largest page that a server returns.
const PAGE_SIZE: usize = 1000;

/// A request for a page of a list.
pub(super) trait PageRequest: Clone {
    /// One page.
    type Page;

    /// Sets the size and the position of the page.
    fn set_page(&mut self, size: i32, token: String);

    /// Calls the server.
    fn fetch(self, client: &Client)
    -> impl Future<Output = Result<Self::Page, ClientError>> + Send;

    /// The number of items on a page, and the token of the next one.
    fn end(page: &Self::Page) -> (usize, String);
}

/// The pages of a list, up to a number of items.
pub(super) struct Pages<Request> {
    client: Client,
    request: Request,
    left: usize,
    /// `None` after the last page.
    next: Option<String>,
}

impl<Request: PageRequest> Pages<Request> {
    pub(super) fn new(client: Client, request: Request, limit: usize) -> Self {
        Self { client, request, left: limit, next: Some(String::new()) }
    }

    /// The next page. `None` after the last one, or after as many items as requested.
    ///
    /// # Errors
    /// If the call fails.
    pub(super) async fn next(&mut self) -> Result<Option<Request::Page>, ClientError> {
        if self.left == 0 {
            return Ok(None);
        }
        let Some(token) = self.next.take() else { return Ok(None) };
        let mut request = self.request.clone();
        request.set_page(self.left.min(PAGE_SIZE).try_into().unwrap_or_default(), token);
        let page = request.fetch(&self.client).await?;
        let (count, token) = Request::end(&page);
        self.left = self.left.saturating_sub(count);
        self.next = (!token.is_empty()).then_some(token);
        Ok(Some(page))
    }

    /// Whether the list has more items than were requested.
    pub(super) fn has_more(&self) -> bool {
        self.next.is_some()
    }
}

impl PageRequest for ListExportsRequest {
    type Page = ListExportsResponse;

    fn set_page(&mut self, size: i32, token: String) {
        (self.page_size, self.page_token) = (size, token);
    }

    async fn fetch(self, client: &Client) -> Result<ListExportsResponse, ClientError> {
        client.list_page(self).await
    }

    fn end(page: &ListExportsResponse) -> (usize, String) {
        (page.exports.len(), page.next_page_token.clone())
    }
}

impl PageRequest for ListEventsRequest {
    type Page = ListEventsResponse;

    fn set_page(&mut self, size: i32, token: String) {
        (self.page_size, self.page_token) = (size, token);
    }

    async fn fetch(self, client: &Client) -> Result<ListEventsResponse, ClientError> {
        client.list_events_page(self).await
    }

    fn end(page: &ListEventsResponse) -> (usize, String) {
        (page.events.len(), page.next_page_token.clone())
    }
}
