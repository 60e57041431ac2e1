//! Lists that arrive page by page.

use futures::{Stream, TryStreamExt as _, stream};

use super::ClientError;

/// A request for one page.
pub(super) trait PageRequest {
    /// Asks for the page of this token.
    fn set_page_token(&mut self, token: String);
}

/// All items of a list. A page is its items and the token of the next one, which is empty after the last. Pages are
/// fetched on demand. The stream ends after its first error.
pub(super) fn items<Request, Item, Fetching>(
    request: Request,
    fetch: impl Fn(Request) -> Fetching + Send + 'static,
) -> impl Stream<Item = Result<Item, ClientError>> + Send + Unpin + 'static
where
    Request: PageRequest + Clone + Send + 'static,
    Item: Send + 'static,
    Fetching: Future<Output = Result<(Vec<Item>, String), ClientError>> + Send + 'static,
{
    let pages = stream::try_unfold(Some(request), move |request| {
        let fetching = request.clone().map(&fetch);
        async move {
            let (Some(mut request), Some(fetching)) = (request, fetching) else { return Ok(None) };
            let (items, next_page_token) = fetching.await?;
            let is_last = next_page_token.is_empty();
            request.set_page_token(next_page_token);
            let next = (!is_last).then_some(request);
            Ok::<_, ClientError>(Some((stream::iter(items.into_iter().map(Ok)), next)))
        }
    });
    Box::pin(pages.try_flatten())
}
