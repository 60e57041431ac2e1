//! Where a page of exports ends and the next begins.

use std::cmp::Reverse;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::Export;
use crate::{
    bundle::{AcceptedTime, ExportId, to_json_compact},
    digest::Sha256,
};

/// A place in the order of all exports: the newest first, exports of one microsecond by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PagePosition(Reverse<AcceptedTime>, ExportId);

/// Not a token that was given out for this filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPageToken {
    /// Not one of this service's tokens.
    #[error("this is no page token of this service: pass next_page_token unchanged")]
    Malformed,
    /// A token for other exports than these.
    #[error(
        "this page token was given for another filter: pass the same filter, or start without a token"
    )]
    OtherFilter,
}

#[derive(Serialize, Deserialize)]
struct Token {
    /// The start of the filter's digest.
    filter: String,
    micros: i64,
    export_id: ExportId,
}

impl PagePosition {
    /// Right at this export.
    pub fn of(export: &Export) -> Self {
        Self::at(export.accepted_time, export.export_id)
    }

    /// Right at the export with this acceptance time and id.
    pub fn at(accepted_time: AcceptedTime, export_id: ExportId) -> Self {
        Self(Reverse(accepted_time), export_id)
    }

    /// Behind every export of this time.
    pub fn behind_all_of(time: AcceptedTime) -> Self {
        Self(Reverse(time), ExportId::new(uuid::Uuid::max()))
    }

    /// The acceptance time at this place.
    pub fn time(&self) -> AcceptedTime {
        self.0.0
    }

    /// The acceptance time of the newest export that can lie behind this place.
    pub fn newest_time_behind(&self) -> AcceptedTime {
        let time = self.time();
        if *self < Self::behind_all_of(time) {
            return time;
        }
        AcceptedTime::from_micros(time.micros() - 1).unwrap_or(time)
    }

    /// The token that starts a page behind this place, good for this filter only.
    pub fn to_token(self, filter: &str) -> String {
        let token =
            Token { filter: filter_mark(filter), micros: self.time().micros(), export_id: self.1 };
        URL_SAFE_NO_PAD.encode(to_json_compact(&token))
    }

    /// Reads a token.
    pub fn from_token(token: &str, filter: &str) -> Result<Self, InvalidPageToken> {
        let malformed = |_| InvalidPageToken::Malformed;
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken::Malformed)?;
        let token: Token = serde_json::from_slice(&json).map_err(malformed)?;
        if token.filter != filter_mark(filter) {
            return Err(InvalidPageToken::OtherFilter);
        }
        let time = AcceptedTime::from_micros(token.micros).ok_or(InvalidPageToken::Malformed)?;
        Ok(Self(Reverse(time), token.export_id))
    }
}

fn filter_mark(filter: &str) -> String {
    let mut digest = Sha256::of(filter.as_bytes()).to_string();
    digest.truncate(16);
    digest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn position() -> PagePosition {
        let time = AcceptedTime::new("2026-11-22T18:37:00.123456Z".parse().unwrap());
        PagePosition(Reverse(time), ExportId::new(uuid::Uuid::from_u128(7)))
    }

    #[test]
    fn a_token_leads_back_to_its_place_and_fits_its_filter_only() {
        let token = position().to_token("state = STATE_FAILED");
        assert_eq!(PagePosition::from_token(&token, "state = STATE_FAILED"), Ok(position()));
        assert_eq!(PagePosition::from_token(&token, ""), Err(InvalidPageToken::OtherFilter));
    }

    #[test]
    fn behind_all_of_a_time_the_next_older_begins() {
        let time = position().time();
        assert_eq!(position().newest_time_behind(), time);
        let behind = PagePosition::behind_all_of(time);
        assert_eq!(behind.newest_time_behind().micros(), time.micros() - 1);
    }

    #[test]
    fn anything_else_is_refused() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let mark = filter_mark("");
        let micros_out_of_range = format!(
            r#"{{"filter":"{mark}","micros":-1,"export_id":"00000000-0000-0000-0000-000000000007"}}"#
        );
        for token in ["x", "!", &encoded("{}"), &encoded("7"), &encoded(&micros_out_of_range)] {
            assert_eq!(
                PagePosition::from_token(token, ""),
                Err(InvalidPageToken::Malformed),
                "{token}"
            );
        }
    }
}
