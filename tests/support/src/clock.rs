//! The server's clock, which tests can skew.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue, Uri, header};

/// S3 refuses requests whose time differs more from its own.
const SKEW_LIMIT: TimeDelta = TimeDelta::minutes(15);
/// The format of times in signatures.
const AMZ_DATE: &str = "%Y%m%dT%H%M%SZ";

/// The machine's clock plus an offset.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    skew: Mutex<TimeDelta>,
}

impl Clock {
    pub(crate) fn set_skew(&self, skew: TimeDelta) {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = skew;
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        Utc::now() + *self.skew.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn system_time(&self) -> SystemTime {
        self.now().into()
    }

    /// Whether S3 would refuse a request because of its time. A presigned URL may be as old as its
    /// own expiry allows, which s3s checks, but not from the future. s3s also refuses requests
    /// without a readable time.
    pub(crate) fn is_too_skewed(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let presigned = uri.query().and_then(|query| {
            query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Date=")).and_then(parse)
        });
        let signed =
            headers.get("x-amz-date").and_then(|value| value.to_str().ok()).and_then(parse);
        let now = self.now();
        match (presigned, signed) {
            (Some(time), _) => time - now > SKEW_LIMIT,
            (None, Some(time)) => (time - now).abs() > SKEW_LIMIT,
            (None, None) => false,
        }
    }

    /// Adds the server's time to a response; clients correct their clock with it.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        let date = self.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        if let Ok(date) = HeaderValue::from_str(&date) {
            headers.insert(header::DATE, date);
        }
    }
}

fn parse(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, AMZ_DATE).ok().map(|time| time.and_utc())
}
