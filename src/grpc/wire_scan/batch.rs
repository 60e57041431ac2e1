//! Scans the requests of a batch: each as if it were sent alone, with its own limits.

use super::{
    CONSTANT_BYTES, Scan, ScanError, scan,
    wire::{Reader, Value},
};

/// The full name of the message with the requests of a batch.
pub(in crate::grpc) const BATCH_REQUEST: &str = "tara.export.v1.BatchStartExportsRequest";
/// Requests of one batch.
pub(in crate::grpc) const BATCH_REQUESTS: usize = 500;

/// The full name of each of them.
pub(in crate::grpc) const REQUEST: &str = "tara.export.v1.StartExportRequest";
const REQUESTS_FIELD: u32 = 2;
/// Items that are encoded at the same time, and so need memory for what is rendered from them.
const PARALLEL_ITEMS: usize = 8;
/// The memory of an accepted item without its content: its run, its header in the backlog, and its state in the batch.
const ITEM_BYTES: u64 = 8 * 1024;

/// The sum of the scans of a batch's requests.
#[derive(Debug, Default)]
pub(in crate::grpc) struct BatchScan {
    scan: Scan,
    rendered: Vec<u64>,
}

impl BatchScan {
    /// Adds a request.
    pub(in crate::grpc) fn add(&mut self, scanned: Scan) {
        let total = &mut self.scan;
        let without_export = scanned.decoded_bytes.saturating_sub(CONSTANT_BYTES);
        total.decoded_bytes = total.decoded_bytes.saturating_add(without_export + ITEM_BYTES);
        total.items += scanned.items;
        total.free_values += scanned.free_values;
        self.rendered.push(scanned.rendered_bytes.saturating_add(CONSTANT_BYTES));
    }

    /// The scan of all requests.
    pub(in crate::grpc) fn into_scan(mut self) -> Scan {
        self.rendered.sort_unstable_by(|one, other| other.cmp(one));
        for bytes in self.rendered.into_iter().take(PARALLEL_ITEMS) {
            self.scan.rendered_bytes = self.scan.rendered_bytes.saturating_add(bytes);
        }
        self.scan
    }
}

/// Scans a batch. The limits of a request apply to each of them; a field is named with its request, as in
/// `requests[17].review`.
///
/// # Errors
/// The first request that is malformed or exceeds a limit, or too many requests.
pub(in crate::grpc) fn scan_batch(message: &[u8]) -> Result<Scan, ScanError> {
    let mut total = BatchScan::default();
    let mut index = 0;
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        let Value::Delimited(request) = value else { continue };
        if number != REQUESTS_FIELD {
            // Bytes of the id, which the conversion checks.
            total.scan.decoded_bytes += request.len() as u64;
            continue;
        }
        if index == BATCH_REQUESTS {
            return Err(ScanError::Limit {
                field: "requests".to_owned(),
                description: format!("must have at most {BATCH_REQUESTS} requests"),
            });
        }
        let scanned = scan(REQUEST, request).map_err(|error| match error {
            ScanError::Limit { field, description } => {
                ScanError::Limit { field: format!("requests[{index}].{field}"), description }
            }
            ScanError::Malformed => ScanError::Malformed,
        })?;
        index += 1;
        total.add(scanned);
    }
    Ok(total.into_scan())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::{BatchStartExportsRequest, Document, Review, StartExportRequest};

    fn batch(requests: Vec<StartExportRequest>) -> Vec<u8> {
        BatchStartExportsRequest { batch_id: String::new(), requests }.encode_to_vec()
    }

    #[test]
    fn limits_apply_to_each_request_and_name_it() {
        let with_documents = |count| StartExportRequest {
            documents: vec![Document::default(); count],
            ..Default::default()
        };
        assert!(scan_batch(&batch(vec![with_documents(3); 100])).is_ok());
        let error = scan_batch(&batch(vec![with_documents(3), with_documents(4)])).unwrap_err();
        assert_eq!(error.to_string(), "requests[1].documents: must have at most 3 documents");
        let text = "x".repeat(1024 * 1024 + 1);
        let review = Some(Review { reviewer: text, ..Default::default() });
        let large = StartExportRequest { review, ..Default::default() };
        let error = scan_batch(&batch(vec![StartExportRequest::default(), large])).unwrap_err();
        assert!(error.to_string().starts_with("requests[1].review.reviewer: "), "{error}");
    }

    #[test]
    fn number_of_requests_is_limited() {
        let request = StartExportRequest::default();
        assert!(scan_batch(&batch(vec![request.clone(); BATCH_REQUESTS])).is_ok());
        let error = scan_batch(&batch(vec![request; BATCH_REQUESTS + 1])).unwrap_err();
        assert_eq!(error.to_string(), "requests: must have at most 500 requests");
    }

    #[test]
    fn memory_grows_with_each_request() {
        let bytes = |count| {
            let scan = scan_batch(&batch(vec![StartExportRequest::default(); count])).unwrap();
            scan.decoded_bytes + scan.rendered_bytes
        };
        assert!(bytes(100) >= bytes(8) + 92 * ITEM_BYTES);
    }

    #[test]
    fn malformed_request_is_refused() {
        let malformed = scan_batch(&[(2 << 3) | 2, 1, 0xff]);
        assert_eq!(malformed, Err(ScanError::Malformed));
    }
}
