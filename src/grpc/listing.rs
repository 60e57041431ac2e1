//! ListExports: parses the query, merges unfinished exports with bundles, and limits a page to one response.

use prost::Message as _;
use tara_export_catalog::{Catalog, Filter, ListQuery, Page, PagePosition, ReadError};
use tara_export_limits::CallerKey;
use tara_export_store::{StoreError, StoreKind};
use tonic::{Response, Status};

use super::{
    convert::export_message,
    failures::{read_failed, store_failed},
    queries::Queries,
    readers::Readers,
    response_memory::{UNARY_LIMIT_BYTES, response_with},
    status::invalid,
};
use crate::proto;

/// The memory that is reserved for one export of a page. The response does not list its artifacts.
const LISTED_BYTES: u64 = 16 * 1024;

/// Reads one page.
pub(super) async fn page(
    queries: &Queries,
    readers: &Readers,
    caller: &CallerKey,
    request: &proto::ListExportsRequest,
    page_size: usize,
) -> Result<Response<proto::ListExportsResponse>, Status> {
    let filter =
        Filter::parse(&request.filter).map_err(|error| invalid("filter", error.to_string()))?;
    let after = match request.page_token.as_str() {
        "" => None,
        token => Some(
            PagePosition::from_token(token, &request.filter)
                .map_err(|error| invalid("page_token", error.to_string()))?,
        ),
    };
    let permit = readers.reserve_response(caller, page_size as u64 * LISTED_BYTES).await?;
    let page = queries
        .catalog
        .list(
            &ListQuery { filter, after, page_size },
            queries.engine.exports_without_bundle().await,
        )
        .await
        .map_err(|error| list_failed(&queries.catalog, error))?;
    let response = truncated_page(page, &request.filter, &queries.replica, UNARY_LIMIT_BYTES);
    Ok(response_with(permit, response))
}

/// The exports of a page that fit into one response. The next page starts with the first that does not fit.
fn truncated_page(
    page: Page,
    filter: &str,
    replica: &str,
    limit_bytes: usize,
) -> proto::ListExportsResponse {
    let mut response = proto::ListExportsResponse::default();
    let mut next = page.next;
    let mut size_bytes = 0;
    for export in &page.exports {
        let message = export_message(export, replica, false);
        size_bytes += message.encoded_len() + 8;
        if size_bytes > limit_bytes {
            break;
        }
        response.exports.push(message);
    }
    if response.exports.len() < page.exports.len() {
        next =
            response.exports.len().checked_sub(1).map(|last| PagePosition::of(&page.exports[last]));
    }
    response.next_page_token = next.map(|position| position.to_token(filter)).unwrap_or_default();
    response
}

/// The status of a page that cannot be read. Names a filter that works without S3.
fn list_failed(catalog: &Catalog, error: ReadError) -> Status {
    match error {
        ReadError::Store(error) if catalog.store(StoreKind::S3).is_some() => {
            let message = format!(
                "{error}; the filter `stored_in = DESTINATION_LOCAL` lists the exports on this server's disk"
            );
            store_failed(StoreError::new(error.kind(), message))
        }
        error => read_failed(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use chrono::{DateTime, TimeDelta};
    use tara_export_bundle::{AcceptedTime, Destination, ExportId};
    use tara_export_catalog::{Export, ExportState};
    use uuid::Uuid;

    use super::*;

    fn export(number: u32) -> Export {
        let time = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        Export {
            export_id: Uuid::from_u128(number.into()).to_string().parse::<ExportId>().unwrap(),
            is_id_unknown: false,
            state: ExportState::Pending,
            state_reason: String::new(),
            document_name: "report.docx".repeat(100),
            session_id: String::new(),
            reviewer: String::new(),
            requested_by: String::new(),
            requested_destination: Destination::Local,
            stored_in: None,
            folder_name: None,
            location: String::new(),
            artifacts: Vec::new(),
            manifest_sha256: None,
            accepted_time: AcceptedTime::new(time - TimeDelta::seconds(number.into())),
            committed_time: None,
            adopted: false,
            replacements: Default::default(),
        }
    }

    #[test]
    fn page_that_exceeds_the_limit_continues_after_its_last_export() {
        let exports: Vec<Export> = (1..=3).map(export).collect();
        let page = Page { exports: exports.clone(), next: None };
        let complete = truncated_page(page.clone(), "", "replica", 10_000);
        assert_eq!((complete.exports.len(), complete.next_page_token.as_str()), (3, ""));
        let truncated = truncated_page(page, "", "replica", 2_900);
        let names: Vec<&str> =
            truncated.exports.iter().map(|export| export.name.as_str()).collect();
        assert_eq!(names, [1, 2].map(|number| format!("exports/{}", export(number).export_id)));
        let next = PagePosition::from_token(&truncated.next_page_token, "").unwrap();
        assert_eq!(next, PagePosition::of(&exports[1]));
    }
}
