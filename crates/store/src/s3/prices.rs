//! Prices of requests to S3 (`S3_PRICES`).

/// Prices per thousand requests in US dollars, by the price categories of S3 (Amazon S3 pricing, "Requests & data
/// retrievals").
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RequestPrices {
    /// PUT, COPY, POST and LIST.
    pub put: f64,
    /// GET, SELECT and all others.
    pub get: f64,
    /// DELETE and CANCEL.
    pub delete: f64,
}

impl RequestPrices {
    /// The price of one request of an operation, in billionths of a dollar.
    pub fn nanodollars(&self, operation: &str) -> u64 {
        let dollars_per_thousand = match operation {
            "DeleteObject" | "DeleteObjects" | "AbortMultipartUpload" => self.delete,
            _ if ["Put", "Copy", "Create", "Complete", "Upload", "List"]
                .iter()
                .any(|kind| operation.starts_with(kind)) =>
            {
                self.put
            }
            _ => self.get,
        };
        // A price is at most 1000 dollars (S3_PRICES), so the result fits.
        (dollars_per_thousand * 1e6).round() as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn operations_have_the_price_of_their_category() {
        let prices = RequestPrices { put: 0.005, get: 0.0004, delete: 0.0 };
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
