//! The listener's TLS and callers: from settings, and kept as their files and issuers have them.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{sync::Notify, time};

use crate::{
    auth::{AuthSettings, AuthSetupError, Authenticator, JwtSettings, KeySource},
    config::{SecuritySettings, value},
    tls::{TlsError, TlsFiles, TlsServer},
};

/// How often the files of certificates, tokens and keys are compared with what was read, and issuers' keys
/// asked for where it is time.
const REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// Why a server can't listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can't be listened on.
    #[error("can't listen on {address} port {port} (BIND_ADDRESS, PORT): {source}")]
    Bind {
        /// `BIND_ADDRESS`.
        address: IpAddr,
        /// `PORT`.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// There can be no TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody can be let in.
    #[error(transparent)]
    Auth(#[from] AuthSetupError),
    /// The API can't be described.
    #[error("the API's own description can't be read: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Keeps certificates, tokens and keys as their files and issuers have them.
pub(super) async fn refresh(
    tls: Option<Arc<TlsServer>>,
    authenticator: Option<Arc<Authenticator>>,
    look_again: Arc<Notify>,
) {
    loop {
        // Either is a reason to look.
        let _ = time::timeout(REFRESH_INTERVAL, look_again.notified()).await;
        if let Some(tls) = &tls {
            tls.refresh();
        }
        if let Some(authenticator) = &authenticator {
            authenticator.refresh().await;
        }
    }
}

pub(super) fn tls_files(settings: &SecuritySettings) -> Option<TlsFiles> {
    Some(TlsFiles {
        certificates: value(&settings.tls_cert_file)?,
        key: value(&settings.tls_key_file)?,
        client_authorities: value(&settings.tls_client_ca_file),
    })
}

pub(super) fn auth_settings(settings: &SecuritySettings) -> AuthSettings {
    let jwt = || {
        let keys = match (value(&settings.jwt_jwks_file), value(&settings.jwt_jwks_url)) {
            (Some(file), _) => KeySource::File(file),
            (None, url) => KeySource::Url { url: url?, refresh: settings.jwt_jwks_refresh },
        };
        Some(JwtSettings {
            issuer: value(&settings.jwt_issuer)?,
            audience: value(&settings.jwt_audience)?,
            keys,
            leeway: settings.jwt_leeway,
            roles_claim: settings.jwt_roles_claim.clone(),
            role_prefix: value(&settings.jwt_role_prefix).unwrap_or_default(),
        })
    };
    AuthSettings {
        tokens_file: value(&settings.auth_tokens_file),
        jwt: jwt(),
        client_certificates: value(&settings.tls_client_ca_file).is_some(),
    }
}
