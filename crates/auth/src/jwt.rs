//! Verification of signed tokens (RFC 7519).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{crypto::verify, decode_header};
use serde_json::{Map, Value};
use tara_export_limits::Pool;

use super::{
    AuthSetupError, Caller, KeySource, Refusal, Role, Roles, claims::checked_subject,
    issuer::IssuerKeys, json_object::UniqueNames,
};

/// The requirements for a token.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// The required issuer.
    pub issuer: String,
    /// The required audience.
    pub audience: String,
    /// The issuer's keys.
    pub keys: KeySource,
    /// The allowed difference between the issuer's clock and this one.
    pub leeway: Duration,
    /// The claim with the caller's roles.
    pub roles_claim: String,
    /// The prefix of this service's roles in the claim.
    pub role_prefix: String,
}

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct JwtVerifier {
    settings: JwtSettings,
    keys: IssuerKeys,
}

const UNREADABLE: Refusal =
    Refusal::Invalid("the token is unknown and is not a JWT that this server supports");

impl JwtVerifier {
    /// `reader` reads the file of keys.
    pub(super) async fn open(settings: JwtSettings, reader: Pool) -> Result<Self, AuthSetupError> {
        let keys = IssuerKeys::open(settings.keys.clone(), reader).await?;
        Ok(Self { settings, keys })
    }

    pub(super) async fn refresh(&self) {
        self.keys.refresh().await;
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let header = decode_header(token).map_err(|_| UNREADABLE)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(UNREADABLE)?;
        let (header_part, claims_part) = signed.split_once('.').ok_or(UNREADABLE)?;
        let names = object(header_part)
            .ok_or(Refusal::Invalid("the token's header is not a JSON object with unique names"))?;
        // RFC 7515, section 4.1.11: critical headers must be understood, and this server supports none.
        if names.contains_key("crit") {
            return Err(Refusal::Invalid("the token has critical headers (crit)"));
        }
        let mut keys = self.keys.current();
        let has_key = keys.as_ref().is_some_and(|keys| {
            keys.candidates(header.kid.as_deref(), header.alg).next().is_some()
        });
        if !has_key {
            keys = self.keys.refresh_after_miss(Instant::now()).await;
        }
        let keys = keys.ok_or(Refusal::KeysUnavailable)?;
        let mut candidates = keys.candidates(header.kid.as_deref(), header.alg).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::Invalid(
                "the token is signed with a key that does not belong to its issuer",
            ));
        }
        let is_signed = candidates.any(|key| {
            verify(signature, signed.as_bytes(), &key.decoding, header.alg).unwrap_or(false)
        });
        if !is_signed {
            return Err(Refusal::Invalid("the token's signature is invalid"));
        }
        let claims = object(claims_part).ok_or(Refusal::Invalid(
            "the token's claims are not a JSON object with unique names",
        ))?;
        let name = checked_subject(&claims, &self.settings, SystemTime::now())?;
        Ok(Caller { name: Arc::from(name), roles: self.roles(&claims) })
    }

    fn roles(&self, claims: &Map<String, Value>) -> Roles {
        let names: Vec<&str> = match claims.get(&self.settings.roles_claim) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(names)) => names.split(' ').collect(),
            _ => Vec::new(),
        };
        let own =
            names.into_iter().filter_map(|name| name.strip_prefix(&self.settings.role_prefix));
        own.filter_map(Role::parse).collect()
    }
}

/// Decodes a part of a token.
fn object(part: &str) -> Option<Map<String, Value>> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice::<UniqueNames>(&json).ok().map(|object| object.0)
}
