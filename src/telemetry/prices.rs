//! What requests to S3 cost.

/// Prices of requests, in US dollars for a thousand, by the kinds that S3 has prices for (Amazon S3 pricing,
/// "Requests & data retrievals").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestPrices {
    /// PUT, COPY, POST and LIST.
    pub put: f64,
    /// GET, SELECT and all others.
    pub get: f64,
    /// DELETE and CANCEL.
    pub delete: f64,
}

impl Default for RequestPrices {
    /// S3 Standard in us-east-1, 2026.
    fn default() -> Self {
        Self { put: 0.005, get: 0.0004, delete: 0.0 }
    }
}

impl RequestPrices {
    /// What one request of an operation costs, in billionths of a dollar.
    pub fn nanodollars(&self, operation: &str) -> u64 {
        let dollars_a_thousand = match operation {
            "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload" => self.delete,
            _ if ["Put", "Copy", "Create", "Complete", "Upload", "List"]
                .iter()
                .any(|kind| operation.starts_with(kind)) =>
            {
                self.put
            }
            _ => self.get,
        };
        // A price is at most 1000 dollars (S3_PRICES), so it fits.
        (dollars_a_thousand * 1e6).round() as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_cost_what_their_kind_does() {
        let prices = RequestPrices::default();
        for (operation, expected) in [
            ("PutObject", 5000),
            ("UploadPartCopy", 5000),
            ("CompleteMultipartUpload", 5000),
            ("ListObjectsV2", 5000),
            ("HeadObject", 400),
            ("GetObject", 400),
            ("DeleteObject", 0),
            ("AbortMultipartUpload", 0),
        ] {
            assert_eq!(prices.nanodollars(operation), expected, "{operation}");
        }
    }
}
