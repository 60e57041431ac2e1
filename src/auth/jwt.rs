//! Tokens that an issuer signed (RFC 7519).

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};

use super::{AuthSetupError, Caller, KeySource, Refusal, Role, Roles, is_name, issuer::IssuerKeys};

/// What a token must be like.
#[derive(Debug, Clone)]
pub struct JwtSettings {
    /// Who must have issued it.
    pub issuer: String,
    /// Whom it must be for.
    pub audience: String,
    /// The issuer's keys.
    pub keys: KeySource,
    /// How far the issuer's clock may be from this one.
    pub leeway: Duration,
    /// The claim that has the caller's roles.
    pub roles_claim: String,
    /// What roles of this service begin with there.
    pub role_prefix: String,
}

/// Checks tokens.
#[derive(Debug)]
pub(super) struct JwtVerifier {
    settings: JwtSettings,
    keys: IssuerKeys,
}

impl JwtVerifier {
    pub(super) async fn open(settings: JwtSettings) -> Result<Self, AuthSetupError> {
        let keys = IssuerKeys::open(settings.keys.clone()).await?;
        Ok(Self { settings, keys })
    }

    pub(super) async fn refresh(&self) {
        self.keys.refresh().await;
    }

    pub(super) async fn verify(&self, token: &str) -> Result<Caller, Refusal> {
        let header = decode_header(token).map_err(|_| {
            Refusal::Invalid("the token is not known, and is no JWT that this server can read")
        })?;
        // RFC 7515, section 4.1.11: what a token calls critical must be understood, and nothing of it is here.
        if header.crit.is_some() {
            return Err(Refusal::Invalid("the token has critical headers (crit)"));
        }
        let mut keys = self.keys.known();
        let has_key = keys.as_ref().is_some_and(|keys| {
            keys.candidates(header.kid.as_deref(), header.alg).next().is_some()
        });
        if !has_key {
            keys = self.keys.look_again().await;
        }
        let keys = keys.ok_or(Refusal::KeysUnavailable)?;
        let mut refusal =
            Refusal::Invalid("the token is signed with a key that its issuer does not have");
        let mut validation = Validation::new(header.alg);
        validation.leeway = self.settings.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.audience]);
        for key in keys.candidates(header.kid.as_deref(), header.alg) {
            match decode::<Map<String, Value>>(token, &key.decoding, &validation) {
                Ok(token) => return self.caller(&token.claims),
                Err(error) => refusal = refusal_of(error.kind()),
            }
            // Another key changes nothing where the signature was right.
            if refusal != SIGNATURE {
                break;
            }
        }
        Err(refusal)
    }

    fn caller(&self, claims: &Map<String, Value>) -> Result<Caller, Refusal> {
        let name = claims.get("sub").and_then(Value::as_str).filter(|name| is_name(name));
        let name = name.ok_or(Refusal::Invalid("the token's subject (sub) is no name"))?;
        Ok(Caller { name: Arc::from(name), roles: self.roles(claims) })
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

const SIGNATURE: Refusal = Refusal::Invalid("the token's signature is wrong");

/// Nothing of the error itself, which may quote the token.
fn refusal_of(error: &ErrorKind) -> Refusal {
    match error {
        ErrorKind::ExpiredSignature => Refusal::Expired,
        ErrorKind::ImmatureSignature => Refusal::Invalid("the token is not valid yet (nbf)"),
        ErrorKind::InvalidIssuer => Refusal::Invalid("the token is of another issuer (JWT_ISSUER)"),
        ErrorKind::InvalidAudience => {
            Refusal::Invalid("the token is for another audience (JWT_AUDIENCE)")
        }
        ErrorKind::MissingRequiredClaim(_) => {
            Refusal::Invalid("the token needs the claims exp, iss, aud and sub")
        }
        ErrorKind::InvalidSignature => SIGNATURE,
        _ => Refusal::Invalid("the token is no JWT that this server can read"),
    }
}
