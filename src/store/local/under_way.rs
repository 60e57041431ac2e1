//! Writes that are under way, whether or not somebody still waits for them.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::super::ObjectKey;

/// How many writes of each key are under way. A write goes on when its caller is gone; a deletion that
/// did not wait for it would see the object come back.
#[derive(Debug, Default)]
pub(super) struct WritesUnderWay {
    counts: Mutex<HashMap<ObjectKey, usize>>,
    ended: Notify,
}

/// A write that is under way as long as this is.
#[derive(Debug)]
pub(super) struct WriteUnderWay {
    writes: Arc<WritesUnderWay>,
    key: ObjectKey,
}

impl WritesUnderWay {
    pub(super) fn begin(self: &Arc<Self>, key: &ObjectKey) -> WriteUnderWay {
        *self.lock().entry(key.clone()).or_default() += 1;
        WriteUnderWay { writes: self.clone(), key: key.clone() }
    }

    /// Waits for the writes of a key.
    pub(super) async fn ended(&self, key: &ObjectKey) {
        self.until(|counts| !counts.contains_key(key)).await;
    }

    /// Waits for all writes.
    pub(super) async fn all_ended(&self) {
        self.until(HashMap::is_empty).await;
    }

    async fn until(&self, is_so: impl Fn(&HashMap<ObjectKey, usize>) -> bool) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // Before the look, so that no end is missed between it and the waiting.
            ended.as_mut().enable();
            if is_so(&self.lock()) {
                return;
            }
            ended.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, usize>> {
        // Nothing panics in the middle of a change.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for WriteUnderWay {
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
