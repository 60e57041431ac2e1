//! Authenticates and authorizes callers before any part of a request's body is read.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::header::AUTHORIZATION;
use tara_export_auth::{Authenticator, Caller, Credentials, Refusal, RefusalKind};
use tara_export_limits::CallerKey;
use tonic::{
    Code, Status,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};

use super::{
    caller::ClientAddress,
    permissions::{Permission, permission},
    status::{role_missing, status},
};

/// How many characters of an unknown method's name are logged.
const LOGGED_METHOD_CHARS: usize = 100;

/// A layer for [`axum::middleware::from_fn_with_state`]: puts the caller into the request's extensions, or refuses
/// the call. The log line of a refusal contains no credentials.
pub async fn authenticate(
    State(authenticator): State<Arc<Authenticator>>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.uri().path();
    let peer = ClientAddress::for_log(request.extensions());
    let Some(permission) = permission(method) else {
        // Fail closed: a method without a row in the table is unknown.
        let method: String = method.chars().take(LOGGED_METHOD_CHARS).collect();
        tracing::warn!(method, peer, reason = "UNIMPLEMENTED", "refused");
        return refuse(Status::unimplemented("unknown method"));
    };
    let Permission::OneOf(roles) = permission else {
        return next.run(request).await;
    };
    let tls = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
    let certificates = tls.and_then(|tls| tls.peer_certs());
    let certificates = certificates.as_ref();
    let credentials = Credentials {
        authorization: request.headers().get(AUTHORIZATION).map(|header| header.as_bytes()),
        certificate: certificates.and_then(|chain| chain.first()).map(|first| first.as_ref()),
    };
    let caller = match authenticator.authenticate(credentials).await {
        Ok(caller) => caller,
        Err(refusal) => {
            let (reason, detail) = (reason(refusal.kind()), refusal.detail());
            tracing::warn!(method, peer, reason, why = %refusal, detail, "refused");
            return refuse(refusal_status(&refusal));
        }
    };
    if !caller.roles.has_one_of(roles) {
        let (name, has, detail) = (&*caller.name, caller.roles, caller.why_no_role.as_deref());
        tracing::warn!(method, peer, caller = name, reason = "ROLE_MISSING", %has, detail, "refused");
        return refuse(role_missing(method, roles));
    }
    // The inner layers do not need the token. Without it they cannot log it.
    request.headers_mut().remove(AUTHORIZATION);
    request.extensions_mut().insert(CallerKey::named(&caller.name));
    request.extensions_mut().insert(caller);
    next.run(request).await
}

fn refuse(status: Status) -> Response {
    status.into_http::<tonic::body::Body>().map(Body::new)
}

fn reason(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Missing => "CREDENTIALS_MISSING",
        RefusalKind::Invalid => "CREDENTIALS_INVALID",
        RefusalKind::Expired => "CREDENTIALS_EXPIRED",
        RefusalKind::KeysUnavailable => "ISSUER_KEYS_UNAVAILABLE",
    }
}

fn refusal_status(refusal: &Refusal) -> Status {
    let code = match refusal.kind() {
        RefusalKind::KeysUnavailable => Code::Unavailable,
        RefusalKind::Missing | RefusalKind::Invalid | RefusalKind::Expired => Code::Unauthenticated,
    };
    status(code, reason(refusal.kind()), refusal.to_string())
}

/// The caller's name, as written to manifests. Empty if the server does not authenticate callers.
pub(super) fn caller<T>(request: &tonic::Request<T>) -> Arc<str> {
    request.extensions().get::<Caller>().map_or_else(|| Arc::from(""), |caller| caller.name.clone())
}
