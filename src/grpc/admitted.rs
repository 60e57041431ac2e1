//! Passes reservations for a request or its response through extensions, which must be cloneable.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::export::Permit;

/// A request with a review, read and scanned, with its permit.
#[derive(Debug)]
pub(super) struct AdmittedReview {
    /// The message, to be decoded.
    pub message: Bytes,
    /// The permit to export, with its memory.
    pub permit: Permit,
}

/// A reservation that its receiver takes once.
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

    /// Takes the reservation of this request.
    pub(super) fn take_from<T>(request: &tonic::Request<T>) -> Option<P> {
        request.extensions().get::<Self>()?.take()
    }

    /// Takes the reservation. `None` if it was already taken.
    pub(super) fn take(&self) -> Option<P> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
