//! Programmable failures: rules that define which requests fail, how, and how often.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::operation::{Operation, Target};

/// How a request fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// An error response; the operation is not applied.
    Respond {
        /// HTTP status, for example 503.
        status: u16,
        /// S3's error code, for example `SlowDown`.
        code: &'static str,
    },
    /// Status 200 with an error in the body, as CompleteMultipartUpload and CopyObject may return;
    /// the operation is not applied.
    OkWithError {
        /// S3's error code, for example `InternalError`.
        code: &'static str,
    },
    /// The operation is applied after this time, even if the client has disconnected.
    Delay(Duration),
    /// No response until the rule is cleared. Then the operation is applied, even if the client has
    /// disconnected. Stopping the server drops the request.
    Stall,
    /// The operation is applied, and the response is sent when the rule is cleared.
    StallResponse,
    /// The complete request is read, then the connection is reset; the operation is not applied.
    ResetBefore,
    /// The operation is applied, then the connection is reset: the response is lost.
    ResetAfter,
    /// The operation is applied, and half of the response's body is sent before the connection
    /// ends. A response without a body is lost completely.
    TruncateResponse,
}

impl Fault {
    /// 500 InternalError
    pub const INTERNAL_ERROR: Self = Self::respond(500, "InternalError");
    /// 503 SlowDown
    pub const SLOW_DOWN: Self = Self::respond(503, "SlowDown");
    /// 503 ServiceUnavailable
    pub const SERVICE_UNAVAILABLE: Self = Self::respond(503, "ServiceUnavailable");
    /// 403 AccessDenied
    pub const ACCESS_DENIED: Self = Self::respond(403, "AccessDenied");
    /// 400 ExpiredToken; the status is the one in S3's list of error codes.
    pub const EXPIRED_TOKEN: Self = Self::respond(400, "ExpiredToken");
    /// 404 NoSuchBucket
    pub const NO_SUCH_BUCKET: Self = Self::respond(404, "NoSuchBucket");
    /// 409 ConditionalRequestConflict
    pub const CONDITIONAL_REQUEST_CONFLICT: Self = Self::respond(409, "ConditionalRequestConflict");
    /// 412 PreconditionFailed
    pub const PRECONDITION_FAILED: Self = Self::respond(412, "PreconditionFailed");

    /// An error response with any status and code.
    pub const fn respond(status: u16, code: &'static str) -> Self {
        Self::Respond { status, code }
    }
}

/// Defines which requests fail, how, and how often. Without further conditions: all, until cleared.
#[derive(Debug, Clone)]
pub struct FaultRule {
    fault: Fault,
    operation: Option<Operation>,
    key_contains: Option<String>,
    key_ends_with: Option<String>,
    skip: usize,
    times: Option<usize>,
}

impl FaultRule {
    /// A rule for all requests.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            operation: None,
            key_contains: None,
            key_ends_with: None,
            skip: 0,
            times: None,
        }
    }

    /// Only requests for this operation.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only requests whose key contains this text.
    #[must_use]
    pub fn key_contains(mut self, text: impl Into<String>) -> Self {
        self.key_contains = Some(text.into());
        self
    }

    /// Only requests whose key ends with this text.
    #[must_use]
    pub fn key_ends_with(mut self, text: impl Into<String>) -> Self {
        self.key_ends_with = Some(text.into());
        self
    }

    /// Lets the first `count` matching requests pass.
    #[must_use]
    pub fn after(mut self, count: usize) -> Self {
        self.skip = count;
        self
    }

    /// Fails `count` requests, then no more.
    #[must_use]
    pub fn times(mut self, count: usize) -> Self {
        self.times = Some(count);
        self
    }

    fn matches(&self, target: &Target) -> bool {
        self.operation.is_none_or(|operation| operation == target.operation)
            && self.key_contains.as_deref().is_none_or(|text| target.key.contains(text))
            && self.key_ends_with.as_deref().is_none_or(|text| target.key.ends_with(text))
    }
}

/// Identifies a rule of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FaultId(u64);

/// The active rules, in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    rules: Vec<ActiveRule>,
    last_id: u64,
}

#[derive(Debug)]
struct ActiveRule {
    id: FaultId,
    rule: FaultRule,
    hits: usize,
    /// Dropped with the rule, which releases stalled requests.
    in_force: watch::Sender<()>,
}

/// The fault that applies to one request.
pub(crate) struct Hit {
    pub(crate) fault: Fault,
    in_force: watch::Receiver<()>,
}

impl Hit {
    /// Waits until the rule is cleared.
    pub(crate) async fn cleared(mut self) {
        while self.in_force.changed().await.is_ok() {}
    }
}

impl Faults {
    pub(crate) fn add(&self, rule: FaultRule) -> FaultId {
        let mut active = self.active();
        active.last_id += 1;
        let id = FaultId(active.last_id);
        active.rules.push(ActiveRule { id, rule, hits: 0, in_force: watch::Sender::new(()) });
        id
    }

    pub(crate) fn clear(&self, id: FaultId) {
        self.active().rules.retain(|active| active.id != id);
    }

    pub(crate) fn clear_all(&self) {
        self.active().rules.clear();
    }

    /// The number of requests that a rule has failed; `None` if it was cleared.
    pub(crate) fn hits(&self, id: FaultId) -> Option<usize> {
        self.active().rules.iter().find(|active| active.id == id).map(|active| active.hits)
    }

    /// Finds the first rule that fails this request; counts the hit for that rule only.
    pub(crate) fn match_request(&self, target: &Target) -> Option<Hit> {
        for active in &mut self.active().rules {
            // A used-up rule stays in the list: its stalled requests wait until it is cleared.
            if !active.rule.matches(target) || active.rule.times.is_some_and(|n| active.hits >= n) {
                continue;
            }
            if active.rule.skip > 0 {
                active.rule.skip -= 1;
                continue;
            }
            active.hits += 1;
            return Some(Hit {
                fault: active.rule.fault.clone(),
                in_force: active.in_force.subscribe(),
            });
        }
        None
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
