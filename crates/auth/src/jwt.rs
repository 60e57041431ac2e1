//! Verification of signed tokens (RFC 7519).

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, crypto::verify, decode_header};
use serde_json::{Map, Value};
use tara_export_limits::Pool;

use super::{
    AuthSetupError, Caller, ClaimPath, KeySource, Refusal, RequiredClaims, RoleNames,
    claims::{checked_name, roles},
    issuer::{IssuerKeys, KeysState},
    json_object::UniqueNames,
    shown::{quoted, shortened, shown},
};

/// The requirements for a token.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// The allowed issuers: the names of one provider, whose keys sign the tokens of all of them.
    pub issuers: Vec<String>,
    /// The audiences, of which a token must name one.
    pub audiences: Vec<String>,
    /// The claim with the token's audience. Another one than `aud` is for tokens without `aud`: one that has it must
    /// name one of the audiences there as well.
    pub audience_claim: ClaimPath,
    /// The claim with the caller's name.
    pub name_claim: ClaimPath,
    /// Claims that every token must have.
    pub required_claims: RequiredClaims,
    /// The claim with the caller's roles.
    pub roles_claim: ClaimPath,
    /// How the claim names roles.
    pub role_names: RoleNames,
    /// The issuer's keys.
    pub keys: KeySource,
    /// The allowed difference between the issuer's clock and this one.
    pub leeway: Duration,
}

/// Verifies tokens.
#[derive(Debug)]
pub(super) struct JwtVerifier {
    settings: JwtSettings,
    keys: IssuerKeys,
}

impl JwtVerifier {
    /// `reader` reads the file of keys.
    pub(super) async fn open(settings: JwtSettings, reader: Pool) -> Result<Self, AuthSetupError> {
        let keys = IssuerKeys::open(settings.keys.clone(), reader).await?;
        Ok(Self { settings, keys })
    }

    pub(super) async fn refresh(&self) {
        self.keys.refresh().await;
    }

    pub(super) fn keys_state(&self) -> KeysState {
        self.keys.state()
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let unreadable = |reason: &str| {
            Refusal::invalid("the token is unknown and is not a JWT that this server supports")
                .with(reason)
        };
        let (Some((signed, signature)), 2) = (token.rsplit_once('.'), token.matches('.').count())
        else {
            let parts = token.split('.').count();
            return Err(unreadable(&format!(
                "it has {parts} parts between dots, and a signed JWT has three"
            )));
        };
        let (header_part, claims_part) =
            signed.split_once('.').ok_or_else(|| unreadable("it has too few parts"))?;
        let header = decode_header(token).map_err(|_| {
            unreadable("its header is not one of a JWT with an RS, PS, ES or EdDSA signature")
        })?;
        let names = object(header_part).ok_or_else(|| {
            Refusal::invalid("the token's header is not a JSON object with unique names")
        })?;
        check_header(&names)?;
        let (id, algorithm) = (header.kid.as_deref(), header.alg);
        let mut keys = self.keys.current();
        let has_key =
            keys.as_ref().is_some_and(|keys| keys.candidates(id, algorithm).next().is_some());
        if !has_key {
            keys = self.keys.refresh_after_miss(Instant::now()).await;
        }
        let keys = keys.ok_or_else(|| {
            Refusal::KEYS_UNAVAILABLE
                .with("another line names what failed (JWT_ISSUER, JWT_JWKS_URL)")
        })?;
        let mut candidates = keys.candidates(id, algorithm).peekable();
        if candidates.peek().is_none() {
            return Err(Refusal::invalid(
                "the token is signed with a key that does not belong to its issuer",
            )
            .with(format!(
                "{}; the issuer's keys are {}",
                key_name(id, algorithm),
                shortened(&format!("{keys:?}"))
            )));
        }
        let is_signed = candidates.any(|key| {
            verify(signature, signed.as_bytes(), &key.decoding, algorithm).unwrap_or(false)
        });
        if !is_signed {
            let key = key_name(id, algorithm);
            return Err(Refusal::invalid("the token's signature is invalid").with(key));
        }
        let claims = object(claims_part).ok_or_else(|| {
            Refusal::invalid("the token's claims are not a JSON object with unique names")
        })?;
        let name = checked_name(&claims, &self.settings, SystemTime::now())?;
        let granted = roles(&claims, &self.settings);
        let why_no_role = granted.why_none.map(Arc::from);
        Ok(Caller { name: Arc::from(name), roles: granted.roles, why_no_role })
    }
}

fn key_name(id: Option<&str>, algorithm: Algorithm) -> String {
    match id {
        Some(id) => format!("the token names the key {} and {algorithm:?}", quoted(id)),
        None => format!("the token names no key (kid), and {algorithm:?}"),
    }
}

/// Checks a header that is not verified yet.
fn check_header(names: &Map<String, Value>) -> Result<(), Refusal> {
    // RFC 7515, section 4.1.11: critical headers must be understood, and this server supports none.
    if names.contains_key("crit") {
        return Err(Refusal::invalid("the token has critical headers (crit)"));
    }
    // RFC 8725, section 3.11, and RFC 9068: the same keys sign tokens for other purposes, such as logout+jwt.
    let is_access_token = match names.get("typ") {
        None => true,
        Some(Value::String(name)) => {
            let name = name.to_ascii_lowercase();
            matches!(name.strip_prefix("application/").unwrap_or(&name), "jwt" | "at+jwt")
        }
        Some(_) => false,
    };
    if !is_access_token {
        let found = names.get("typ").map(shown).unwrap_or_default();
        return Err(Refusal::invalid("the token's type (typ) is neither JWT nor at+jwt")
            .with(format!("it is {found}")));
    }
    Ok(())
}

/// Decodes a part of a token.
fn object(part: &str) -> Option<Map<String, Value>> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice::<UniqueNames>(&json).ok().map(|object| object.0)
}
