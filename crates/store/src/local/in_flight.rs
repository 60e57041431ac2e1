//! In-flight writes, including those whose caller was dropped.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::super::ObjectKey;

/// The number of in-flight writes per key. A write continues after its caller is dropped; if a deletion did
/// not wait for it, the object would reappear.
#[derive(Debug, Default)]
pub(super) struct InFlightWrites {
    counts: Mutex<HashMap<ObjectKey, usize>>,
    ended: Notify,
}

/// A guard that marks a write as in flight until it is dropped.
#[derive(Debug)]
pub(super) struct InFlightWrite {
    writes: Arc<InFlightWrites>,
    key: ObjectKey,
}

impl InFlightWrites {
    pub(super) fn begin(self: &Arc<Self>, key: &ObjectKey) -> InFlightWrite {
        *self.lock().entry(key.clone()).or_default() += 1;
        InFlightWrite { writes: self.clone(), key: key.clone() }
    }

    /// Waits for all writes of a key.
    pub(super) async fn wait(&self, key: &ObjectKey) {
        self.wait_until(|counts| !counts.contains_key(key)).await;
    }

    /// Waits for all writes.
    pub(super) async fn wait_all(&self) {
        self.wait_until(HashMap::is_empty).await;
    }

    async fn wait_until(&self, condition: impl Fn(&HashMap<ObjectKey, usize>) -> bool) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Registered before the check, so that no notification is lost between check and wait.
            ended.as_mut().enable();
            if condition(&self.lock()) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, usize>> {
        // A panic never leaves the map inconsistent.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlightWrite {
    fn drop(&mut self) {
        let mut counts = self.writes.lock();
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
        drop(counts);
        self.writes.ended.notify_waiters();
    }
}
