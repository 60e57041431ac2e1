//! Where a page of exports ends and the next begins.

use std::cmp::Reverse;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use tara_export_bundle::{AcceptedTime, ExportId, to_json_compact};
use tara_export_digest::Sha256;

use super::Export;

/// A position in the order of all exports: newest first, exports of one microsecond by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PagePosition(Reverse<AcceptedTime>, ExportId);

/// Why a page token is invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPageToken {
    /// The token was not issued by this service.
    #[error("not a page token of this service: pass next_page_token unchanged")]
    Malformed,
    /// The token was issued for another filter.
    #[error(
        "the page token was issued for another filter: pass the same filter, or start without a token"
    )]
    OtherFilter,
}

#[derive(Serialize, Deserialize)]
struct Token {
    /// A prefix of the filter's digest.
    filter: String,
    micros: i64,
    export_id: ExportId,
}

impl PagePosition {
    /// The position of this export.
    pub fn of(export: &Export) -> Self {
        Self::at(export.accepted_time, export.export_id)
    }

    /// The position of the export with this acceptance time and id.
    pub fn at(accepted_time: AcceptedTime, export_id: ExportId) -> Self {
        Self(Reverse(accepted_time), export_id)
    }

    /// The position after every export of this time.
    pub fn after_all_of(time: AcceptedTime) -> Self {
        Self(Reverse(time), ExportId::new(uuid::Uuid::max()))
    }

    /// The acceptance time at this position.
    pub fn time(&self) -> AcceptedTime {
        self.0.0
    }

    /// The acceptance time of the newest export that can follow this position.
    pub fn newest_time_after(&self) -> AcceptedTime {
        let time = self.time();
        if *self < Self::after_all_of(time) {
            return time;
        }
        AcceptedTime::from_micros(time.micros() - 1).unwrap_or(time)
    }

    /// The token of a page that starts after this position, valid for this filter only.
    pub fn to_token(self, filter: &str) -> String {
        let token = Token {
            filter: filter_digest(filter),
            micros: self.time().micros(),
            export_id: self.1,
        };
        URL_SAFE_NO_PAD.encode(to_json_compact(&token))
    }

    /// Parses a token.
    pub fn from_token(token: &str, filter: &str) -> Result<Self, InvalidPageToken> {
        let malformed = |_| InvalidPageToken::Malformed;
        let json = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidPageToken::Malformed)?;
        let token: Token = serde_json::from_slice(&json).map_err(malformed)?;
        if token.filter != filter_digest(filter) {
            return Err(InvalidPageToken::OtherFilter);
        }
        let time = AcceptedTime::from_micros(token.micros).ok_or(InvalidPageToken::Malformed)?;
        Ok(Self(Reverse(time), token.export_id))
    }
}

fn filter_digest(filter: &str) -> String {
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
    fn token_round_trips_with_its_own_filter_only() {
        let token = position().to_token("state = STATE_FAILED");
        assert_eq!(PagePosition::from_token(&token, "state = STATE_FAILED"), Ok(position()));
        assert_eq!(PagePosition::from_token(&token, ""), Err(InvalidPageToken::OtherFilter));
    }

    #[test]
    fn position_after_a_time_starts_at_the_next_older_time() {
        let time = position().time();
        assert_eq!(position().newest_time_after(), time);
        let after = PagePosition::after_all_of(time);
        assert_eq!(after.newest_time_after().micros(), time.micros() - 1);
    }

    #[test]
    fn malformed_tokens_are_refused() {
        let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let digest = filter_digest("");
        let micros_out_of_range = format!(
            r#"{{"filter":"{digest}","micros":-1,"export_id":"00000000-0000-0000-0000-000000000007"}}"#
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
