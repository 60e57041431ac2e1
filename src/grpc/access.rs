//! The access log: one line for each call that an authenticated caller made, with its result.
//!
//! A handler names what the call asks for before it looks for it, so the line of a call for something that does not exist
//! has the name, too.

use std::sync::{Mutex, PoisonError};

use axum::{extract::Request, middleware::Next, response::Response};
use tara_export_auth::{Caller, logged_name};
use tonic::{Code, Status};

use super::{
    observe::code_name,
    permissions::{ApiMethod, api_method},
};

tokio::task_local! {
    static ACCESSED: Mutex<Option<Accessed>>;
}

/// How many characters of a name or path are logged.
const LOGGED_CHARS: usize = 200;

/// What a call asks for.
#[derive(Debug, Default)]
struct Accessed {
    name: String,
    path: String,
}

/// A layer for [`axum::middleware::from_fn`], inside of authentication. A call that fails always has a line, a successful
/// one if its handler recorded it. The line of a stream is written when it is accepted.
pub async fn log_access(request: Request, next: Next) -> Response {
    let Some(ApiMethod { method, .. }) = api_method(request.uri().path()) else {
        return next.run(request).await;
    };
    let caller = request.extensions().get::<Caller>().map(|caller| caller.name.clone());
    let (response, accessed) = ACCESSED
        .scope(Mutex::default(), async {
            let response = next.run(request).await;
            (response, ACCESSED.with(|accessed| lock(accessed).take()))
        })
        .await;
    // A stream that was accepted has no code yet.
    let code = Status::from_header_map(response.headers()).map_or(Code::Ok, |status| status.code());
    if accessed.is_some() || code != Code::Ok {
        let (caller, code) = (logged_name(caller.as_deref().unwrap_or_default()), code_name(code));
        let Accessed { name, path } = accessed.unwrap_or_default();
        tracing::info!(target: "tara_export::access", method, caller, name, path, code, "access");
    }
    response
}

/// Records what the current call asks for. The last record of a call counts.
pub(super) fn record_access(name: &str, path: &str) {
    let shortened = |text: &str| text.chars().take(LOGGED_CHARS).collect();
    // Outside of the layer there is no log.
    let _ = ACCESSED.try_with(|accessed| {
        *lock(accessed) = Some(Accessed { name: shortened(name), path: shortened(path) });
    });
}

fn lock(accessed: &Mutex<Option<Accessed>>) -> std::sync::MutexGuard<'_, Option<Accessed>> {
    accessed.lock().unwrap_or_else(PoisonError::into_inner)
}
