//! Why a caller is refused.

use std::{borrow::Cow, fmt};

/// Why a caller is refused. The text that [`fmt::Display`] returns is for the caller: it names what is missing or wrong
/// in the credentials, but no value that this server expects. Neither it nor [`Refusal::detail`] has a part of the
/// credentials that could be used again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    kind: RefusalKind,
    message: Cow<'static, str>,
    detail: Option<String>,
}

/// The kind of a [`Refusal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// No credentials.
    Missing,
    /// Invalid credentials.
    Invalid,
    /// Expired credentials.
    Expired,
    /// The issuer's keys are not known yet.
    KeysUnavailable,
}

impl Refusal {
    pub(super) const MISSING: Self = Self::of(
        RefusalKind::Missing,
        "authentication required: send `authorization: Bearer TOKEN`",
    );
    pub(super) const EXPIRED: Self =
        Self::of(RefusalKind::Expired, "the token has expired: get a new one");
    pub(super) const KEYS_UNAVAILABLE: Self =
        Self::of(RefusalKind::KeysUnavailable, "the issuer's keys are not available yet");

    const fn of(kind: RefusalKind, message: &'static str) -> Self {
        Self { kind, message: Cow::Borrowed(message), detail: None }
    }

    pub(super) fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind: RefusalKind::Invalid, message: message.into(), detail: None }
    }

    /// The same refusal with this detail for the operator.
    pub(super) fn with(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Its kind.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// What the operator needs to know in addition: values found and expected, and the setting. Not for the caller.
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
