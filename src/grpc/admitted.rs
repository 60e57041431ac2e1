//! What was reserved for a request or its answer, on the way to who holds it: in extensions, which are cloned.

use std::sync::{Arc, Mutex, PoisonError};

/// What was reserved, for its holder to take over.
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
        request.extensions().get::<Self>()?.taken()
    }

    /// Takes it, once.
    pub(super) fn taken(&self) -> Option<P> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
