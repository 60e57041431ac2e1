//! Who calls: bearer tokens, static or signed by an issuer, and client certificates. Knows nothing of the
//! API; which method needs which role stands in `grpc/permissions.rs`.

mod certificate;
mod file;
mod issuer;
mod jwt;
mod keys;
mod published;
mod role;
mod tokens;

use std::{path::PathBuf, sync::Arc};

pub use self::{
    issuer::KeySource,
    jwt::JwtSettings,
    role::{Role, Roles},
};
use self::{jwt::JwtVerifier, tokens::StaticTokens};

/// Longest name of a caller: it stands in manifests and in each line of the log.
const NAME_LIMIT_BYTES: usize = 255;
/// Longest bearer token that is looked at.
const TOKEN_LIMIT_BYTES: usize = 16 * 1024;

/// How callers prove who they are.
#[derive(Debug, Clone, Default)]
pub struct AuthSettings {
    /// The file of static tokens.
    pub tokens_file: Option<PathBuf>,
    /// What signed tokens must be like.
    pub jwt: Option<JwtSettings>,
    /// Whether the listener takes only clients with a certificate. Where there is nothing else, that
    /// is the proof, and gives every role.
    pub client_certificates: bool,
}

/// Somebody who has proven who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Their name: a static token's, a JWT's subject, or a certificate's.
    pub name: Arc<str>,
    /// What they may do.
    pub roles: Roles,
}

/// Why a caller is not let in. Says nothing of what the caller sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No credentials.
    #[error("this server wants to know who calls: send `authorization: Bearer TOKEN`")]
    Missing,
    /// Credentials that prove nothing.
    #[error("{0}")]
    Invalid(&'static str),
    /// Credentials of another time.
    #[error("the token has expired: get a new one")]
    Expired,
    /// The issuer's keys are not known yet.
    #[error("the issuer's keys can't be had at the moment (JWT_JWKS_URL)")]
    KeysUnavailable,
}

/// Why nobody can be let in: a setting names something that can't be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct AuthSetupError(String);

/// What came with a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The `authorization` header.
    pub authorization: Option<&'a [u8]>,
    /// The client's certificate, DER, which the TLS listener has verified.
    pub certificate: Option<&'a [u8]>,
}

/// Tells who calls.
#[derive(Debug)]
pub struct Authenticator {
    tokens: Option<StaticTokens>,
    jwt: Option<JwtVerifier>,
}

impl Authenticator {
    /// Reads what the settings name. None where they ask callers for nothing.
    ///
    /// # Errors
    /// [`AuthSetupError`] with the setting and the file. An issuer that can't be reached is none: its keys
    /// are asked for again.
    pub async fn open(settings: AuthSettings) -> Result<Option<Self>, AuthSetupError> {
        let AuthSettings { tokens_file, jwt, client_certificates } = settings;
        if tokens_file.is_none() && jwt.is_none() && !client_certificates {
            return Ok(None);
        }
        let tokens = tokens_file.map(StaticTokens::open).transpose()?;
        let jwt = match jwt {
            Some(jwt) => Some(JwtVerifier::open(jwt).await?),
            None => None,
        };
        Ok(Some(Self { tokens, jwt }))
    }

    /// Tells who calls.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Refusal> {
        if self.tokens.is_none() && self.jwt.is_none() {
            let certificate = credentials.certificate.ok_or(Refusal::Missing)?;
            let name = certificate::name(certificate).into();
            return Ok(Caller { name, roles: Roles::ALL });
        }
        let token = bearer(credentials.authorization.ok_or(Refusal::Missing)?)?;
        if let Some(caller) = self.tokens.as_ref().and_then(|tokens| tokens.find(token)) {
            return Ok(caller);
        }
        match &self.jwt {
            Some(jwt) => jwt.verify(token).await,
            None => Err(Refusal::Invalid("the token is not known")),
        }
    }

    /// Reads files again that have changed, and asks the issuer for its keys where it is time.
    pub async fn refresh(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.refresh();
        }
        if let Some(jwt) = &self.jwt {
            jwt.refresh().await;
        }
    }
}

/// The token of an `authorization` header (RFC 6750, section 2.1).
fn bearer(header: &[u8]) -> Result<&str, Refusal> {
    const WRONG: Refusal = Refusal::Invalid("the authorization header is not `Bearer TOKEN`");
    let header = std::str::from_utf8(header).map_err(|_| WRONG)?;
    let (scheme, token) = header.split_once(' ').ok_or(WRONG)?;
    let token = token.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    if is_bearer && !token.is_empty() && token.len() <= TOKEN_LIMIT_BYTES {
        Ok(token)
    } else {
        Err(WRONG)
    }
}

/// A name that can stand in a manifest and in a line of a log.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_LIMIT_BYTES && !name.chars().any(char::is_control)
}
