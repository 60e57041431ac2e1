//! Hanging thread pools.

use std::sync::{Arc, Mutex, mpsc};

use tara_export_limits::Pool;

/// Blocks all threads of a pool until the sender is dropped.
pub(crate) fn wedge(pool: &Pool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(Mutex::new(released));
    for _ in 0..pool.threads() {
        let released = released.clone();
        drop(pool.run(move || released.lock().unwrap().recv()));
    }
    release
}
