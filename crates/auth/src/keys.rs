//! The public keys of an issuer.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Maximum number of keys in a set.
const KEYS_LIMIT: usize = 100;
/// Maximum size of a key, including its certificate chain (`x5c`).
const KEY_LIMIT_BYTES: usize = 32 * 1024;
/// Keys that are tried for one token: verifying an RSA signature takes up to a millisecond, and forged
/// tokens cost their sender nothing. If an issuer has more keys, its tokens must name the key (`kid`).
const CANDIDATES_LIMIT: usize = 10;

/// One public key.
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) decoding: DecodingKey,
}

/// The keys of an issuer.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

impl std::fmt::Debug for KeySet {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids = self.0.iter().map(|key| key.id.as_deref().unwrap_or("(without id)"));
        formatter.debug_list().entries(ids).finish()
    }
}

impl KeySet {
    /// Parses a JWK set (RFC 7517, section 5). Skips keys that cannot sign tokens here, including symmetric keys:
    /// with those, everyone who can verify a token can also create one.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: Set<'_> = serde_json::from_slice(bytes).map_err(|error| {
            format!("is not a JWK set ({{\"keys\": […]}}): line {}", error.line())
        })?;
        if set.keys.len() > KEYS_LIMIT {
            return Err(format!("has more than {KEYS_LIMIT} keys"));
        }
        // Longer keys are skipped without parsing: they may need a hundred times their size in memory.
        let short =
            set.keys.into_iter().map(RawValue::get).filter(|key| key.len() <= KEY_LIMIT_BYTES);
        let keys: Vec<Key> = short.filter_map(Key::of).collect();
        if keys.is_empty() {
            return Err("has no public key for RS, PS, ES or EdDSA signatures".to_owned());
        }
        Ok(Self(keys))
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The keys that may have signed a token with this header.
    pub(super) fn candidates(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &Key> {
        self.0
            .iter()
            .filter(move |key| key.algorithms.contains(&algorithm))
            .filter(move |key| id.is_none() || key.id.as_deref() == id)
            .take(CANDIDATES_LIMIT)
    }
}

impl Key {
    fn of(json: &str) -> Option<Self> {
        let jwk: Jwk = serde_json::from_str(json).ok()?;
        if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
            return None;
        }
        // RFC 7517, section 4.3.
        let uses = jwk.common.key_operations.as_ref();
        if uses.is_some_and(|uses| !uses.contains(&KeyOperations::Verify)) {
            return None;
        }
        let possible: &[Algorithm] = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => &[
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
                Algorithm::PS384,
                Algorithm::PS512,
            ],
            AlgorithmParameters::EllipticCurve(key) => match key.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return None,
            },
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
                &[Algorithm::EdDSA]
            }
            _ => return None,
        };
        let algorithms = match jwk.common.key_algorithm {
            None => possible.to_vec(),
            Some(named) => vec![
                Algorithm::try_from(named).ok().filter(|algorithm| possible.contains(algorithm))?,
            ],
        };
        let decoding = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { id: jwk.common.key_id, algorithms, decoding })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(keys: serde_json::Value) -> Result<KeySet, String> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn unusable_keys_are_skipped() {
        let p256 = json!({
            "kty": "EC", "crv": "P-256", "kid": "a",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        });
        let secret = json!({"kty": "oct", "kid": "a", "alg": "HS256", "k": "c2VjcmV0"});
        let mut for_encryption = p256.clone();
        for_encryption["use"] = json!("enc");
        let mut for_wrapping = p256.clone();
        for_wrapping["key_ops"] = json!(["deriveKey"]);
        let mut of_another_kind = p256.clone();
        of_another_kind["alg"] = json!("HS256");
        let unknown = json!({"kty": "LATTICE", "kid": "a"});
        for unusable in [secret, for_encryption, for_wrapping, of_another_kind, unknown] {
            let message = parse(json!([unusable])).unwrap_err();
            assert!(message.contains("no public key"), "{message}");
            let set = parse(json!([unusable, p256])).unwrap();
            assert_eq!(set.candidates(Some("a"), Algorithm::ES256).count(), 1);
            assert_eq!(set.candidates(None, Algorithm::ES256).count(), 1);
            for (id, algorithm) in [
                (Some("a"), Algorithm::HS256),
                (Some("a"), Algorithm::RS256),
                (Some("b"), Algorithm::ES256),
            ] {
                assert_eq!(set.candidates(id, algorithm).count(), 0);
            }
        }
    }

    #[test]
    fn few_keys_are_tried_and_long_ones_are_skipped() {
        let key = |id: &str, more: &str| {
            json!({
                "kty": "EC", "crv": "P-256", "kid": id, "more": more,
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            })
        };
        let same: Vec<_> = (0..KEYS_LIMIT).map(|_| key("a", "")).collect();
        let set = parse(json!(same)).unwrap();
        for id in [None, Some("a")] {
            assert_eq!(set.candidates(id, Algorithm::ES256).count(), CANDIDATES_LIMIT);
        }
        let long = key("long", &"x".repeat(KEY_LIMIT_BYTES));
        let set = parse(json!([long, key("a", "")])).unwrap();
        assert_eq!(set.candidates(Some("long"), Algorithm::ES256).count(), 0);
        assert_eq!(set.candidates(Some("a"), Algorithm::ES256).count(), 1);
        assert!(parse(json!(vec![0; 500_000])).unwrap_err().contains("more than 100 keys"));
    }

    #[test]
    fn invalid_sets_are_rejected() {
        assert!(KeySet::parse(b"[]").unwrap_err().contains("not a JWK set"));
        assert!(parse(json!([])).unwrap_err().contains("no public key"));
    }
}
