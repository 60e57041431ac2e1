//! Decodes and converts requests with a review in the background, within the memory that admission reserved.

use bytes::Bytes;
use tonic::{Request, Status};

use super::{
    admission::refusals::undecodable,
    admitted::{Admitted, AdmittedReview},
    status::internal_error,
};
use crate::export::Engine;

/// Returns the review and the permit from the admission layer.
pub(super) fn admitted<T>(request: &Request<T>) -> Result<AdmittedReview, Status> {
    Admitted::take_from(request).ok_or_else(|| {
        tracing::error!("a request bypassed the admission layer");
        internal_error()
    })
}

/// Decodes a message that the admission layer scanned. Its documents share its bytes.
pub(super) fn decode<T: prost::Message + Default>(message: Bytes) -> Result<T, Status> {
    T::decode(message).map_err(|_| undecodable())
}

/// The memory that a message of this length may need, before it is known: most need less than ten times their length.
pub(super) fn estimated_memory_bytes(message_bytes: usize) -> u64 {
    10 * message_bytes as u64
}

/// Runs work that takes long for large requests. They get a thread of the computing pool, where they do not block other
/// calls; small ones run at once. `memory_bytes` is the memory of the request.
pub(super) async fn in_background<T: Send + 'static>(
    engine: &Engine,
    memory_bytes: u64,
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    engine.computing().run_sized(memory_bytes, work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "converting a request panicked");
        Err(internal_error())
    })
}
