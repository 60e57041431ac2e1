//! Authentication of callers: bearer tokens, static or signed by an issuer, and client certificates. Does not
//! know the API; `grpc/permissions.rs` defines which method needs which role.
//!
//! Never depends on stores, bundles, or gRPC: other tools can authenticate the same callers.

mod access;
mod certificate;
mod claim_path;
mod claims;
mod discovery;
mod file;
mod issuer;
mod json_object;
mod jwt;
mod keys;
mod published;
mod refusal;
mod required;
mod role;
mod role_names;
mod shown;
mod tokens;

use std::{path::PathBuf, sync::Arc};

use tara_export_limits::Pool;

pub use self::{
    claim_path::{ClaimPath, InvalidClaimPath},
    discovery::is_issuer_url,
    issuer::{KeyLocation, KeySource, KeysState},
    jwt::JwtSettings,
    refusal::{Refusal, RefusalKind},
    required::{InvalidRequiredClaims, RequiredClaims},
    role::{Role, Roles},
    role_names::{InvalidRoleMap, RoleMap, RoleNames},
};
use self::{jwt::JwtVerifier, tokens::StaticTokens};

/// Maximum length of a caller's name, which is written to manifests and to each log line.
const NAME_LIMIT_BYTES: usize = 255;
/// Maximum length of a bearer token.
const TOKEN_LIMIT_BYTES: usize = 16 * 1024;

/// How callers authenticate.
#[derive(Debug, Clone, Default)]
pub struct AuthSettings {
    /// The file of static tokens.
    pub tokens_file: Option<PathBuf>,
    /// The requirements for signed tokens.
    pub jwt: Option<JwtSettings>,
    /// Whether the listener accepts only clients with a certificate. Without tokens, the certificate
    /// authenticates the caller and grants every role.
    pub client_certificates: bool,
}

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The name of the static token, the subject (or the configured claim) of the JWT, or the name of the certificate.
    pub name: Arc<str>,
    /// The caller's roles.
    pub roles: Roles,
    /// Why a token grants no role: the claim and its value. For the operator, not for the caller.
    pub why_no_role: Option<Arc<str>>,
}

/// A caller's name as logs show it: callers without authentication have an empty one.
pub fn logged_name(name: &str) -> &str {
    if name.is_empty() { "anonymous" } else { name }
}

/// An error of the setup: a setting names a file or URL that cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct AuthSetupError(String);

/// The credentials of a call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Credentials<'a> {
    /// The `authorization` header.
    pub authorization: Option<&'a [u8]>,
    /// The client's certificate, DER, which the TLS listener has verified.
    pub certificate: Option<&'a [u8]>,
}

/// Authenticates callers.
#[derive(Debug)]
pub struct Authenticator {
    tokens: Option<StaticTokens>,
    jwt: Option<JwtVerifier>,
}

impl Authenticator {
    /// Reads the files and keys of the settings; `None` if the settings require no authentication. `reader` reloads
    /// files during calls.
    ///
    /// # Errors
    /// [`AuthSetupError`] with the setting and the file. An unreachable issuer is not an error: its keys are
    /// fetched later.
    pub async fn open(
        settings: AuthSettings,
        reader: Pool,
    ) -> Result<Option<Self>, AuthSetupError> {
        let AuthSettings { tokens_file, jwt, client_certificates } = settings;
        if tokens_file.is_none() && jwt.is_none() && !client_certificates {
            return Ok(None);
        }
        let tokens = tokens_file.map(StaticTokens::open).transpose()?;
        let jwt = match jwt {
            Some(jwt) => Some(JwtVerifier::open(jwt, reader).await?),
            None => None,
        };
        Ok(Some(Self { tokens, jwt }))
    }

    /// Authenticates a call.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Refusal> {
        if self.tokens.is_none() && self.jwt.is_none() {
            let certificate = credentials.certificate.ok_or(Refusal::MISSING)?;
            let name = certificate::name(certificate).into();
            return Ok(Caller { name, roles: Roles::ALL, why_no_role: None });
        }
        let token = bearer(credentials.authorization.ok_or(Refusal::MISSING)?)?;
        if let Some(caller) = self.tokens.as_ref().and_then(|tokens| tokens.find(token)) {
            return Ok(caller);
        }
        match &self.jwt {
            Some(jwt) => jwt.verify(token).await,
            None => Err(Refusal::invalid("the token is unknown")),
        }
    }

    /// What is known of the issuer's keys. `None` if no JWTs are accepted.
    pub fn keys_state(&self) -> Option<KeysState> {
        self.jwt.as_ref().map(JwtVerifier::keys_state)
    }

    /// Reloads changed files, and fetches the issuer's keys if they are due.
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
    let malformed = || Refusal::invalid("the authorization header is not `Bearer TOKEN`");
    let header = std::str::from_utf8(header).map_err(|_| malformed())?;
    let (scheme, token) = header.split_once(' ').ok_or_else(malformed)?;
    let token = token.trim();
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(malformed());
    }
    if token.len() > TOKEN_LIMIT_BYTES {
        let bytes = token.len();
        return Err(Refusal::invalid(format!("the token has more than {TOKEN_LIMIT_BYTES} bytes"))
            .with(format!(
                "it has {bytes} bytes: let the issuer leave out claims, such as groups"
            )));
    }
    Ok(token)
}

/// Whether a name can be written to a manifest and to a log line.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_LIMIT_BYTES && !name.chars().any(char::is_control)
}
