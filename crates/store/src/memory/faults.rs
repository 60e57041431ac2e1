//! Fault injection and call recording of the in-memory store.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::{FutureExt as _, future::BoxFuture};

use super::super::{StoreError, StoreErrorKind};

/// An operation of a store.
#[allow(missing_docs, reason = "named as the methods of `Store`, `PartStore` and `LinkObjects`")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    Put,
    PutStream,
    Head,
    Get,
    List,
    Delete,
    Probe,
    CheckWritable,
    Link,
    Begin,
    PutPart,
    CopyPart,
    StoredParts,
    Complete,
    Abort,
    LookUpSource,
    ReadSource,
}

/// One call of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The object's key, the prefix of a listing, or a source's key in its bucket; empty for operations on the
    /// entire store.
    pub key: String,
}

/// A failure that a test injects.
#[derive(Debug)]
pub enum Fault {
    /// The operation fails without effect.
    Fail(StoreError),
    /// The operation takes effect, and its response is lost. The body of an object is cut off.
    LoseResponse(StoreError),
}

type Hook = Arc<dyn Fn(Call) -> BoxFuture<'static, Option<Fault>> + Send + Sync>;

/// The injected faults and the calls so far.
#[derive(Default)]
pub(super) struct Script {
    is_unavailable: AtomicBool,
    faults: Mutex<HashMap<Operation, VecDeque<Fault>>>,
    hook: Mutex<Option<Hook>>,
    calls: Mutex<Vec<Call>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Script {
    pub(super) fn push(&self, operation: Operation, fault: Fault) {
        lock(&self.faults).entry(operation).or_default().push_back(fault);
    }

    pub(super) fn set_hook<F>(&self, hook: impl Fn(Call) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Option<Fault>> + Send + 'static,
    {
        *lock(&self.hook) = Some(Arc::new(move |call| hook(call).boxed()));
    }

    pub(super) fn set_unavailable(&self, is_unavailable: bool) {
        self.is_unavailable.store(is_unavailable, Ordering::Relaxed);
    }

    pub(super) fn calls(&self) -> MutexGuard<'_, Vec<Call>> {
        lock(&self.calls)
    }

    /// Records a call and applies its fault. Returns the error of a lost response, if any.
    ///
    /// # Errors
    /// The error of an operation that fails without effect.
    pub(super) async fn next(
        &self,
        operation: Operation,
        key: &str,
        location: &str,
    ) -> Result<Option<StoreError>, StoreError> {
        let call = Call { operation, key: key.to_owned() };
        self.calls().push(call.clone());
        if self.is_unavailable.load(Ordering::Relaxed) {
            let message = format!("cannot reach {location}: made unavailable by the test");
            return Err(StoreError::new(StoreErrorKind::Unavailable, message));
        }
        let scripted = lock(&self.faults).get_mut(&operation).and_then(VecDeque::pop_front);
        let fault = match (scripted, lock(&self.hook).clone()) {
            (None, Some(hook)) => Err(hook),
            (scripted, _) => Ok(scripted),
        };
        let fault = match fault {
            Ok(scripted) => scripted,
            Err(hook) => hook(call).await,
        };
        match fault {
            None => Ok(None),
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::LoseResponse(error)) => Ok(Some(error)),
        }
    }
}
