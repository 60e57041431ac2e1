//! What admission hands to the handlers of requests.

use std::sync::{Arc, Mutex, PoisonError};

/// What was taken for an admitted request, for its handler to take over.
#[derive(Debug)]
pub(super) struct Admitted<P>(Arc<Mutex<Option<P>>>);

impl<P> Clone for Admitted<P> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<P: Send + 'static> Admitted<P> {
    pub(super) fn new(permit: P) -> Self {
        Self(Arc::new(Mutex::new(Some(permit))))
    }

    /// Takes what was taken for this request.
    pub(super) fn take<T>(request: &tonic::Request<T>) -> Option<P> {
        let slot = request.extensions().get::<Self>()?;
        slot.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
