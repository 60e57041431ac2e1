//! Claims that a token must have with one of several values.

use std::str::FromStr;

use serde_json::{Map, Value};

use super::{
    Refusal,
    claim_path::{ClaimPath, kind},
    json_object::UniqueNames,
    shown::shown,
};

/// Maximum length of the text.
const LIMIT_BYTES: usize = 64 * 1024;
/// Maximum number of claims.
const CLAIMS_LIMIT: usize = 20;

/// Claims that a token must have, each with its allowed values.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequiredClaims(Vec<(ClaimPath, Vec<Value>)>);

/// A text is not [`RequiredClaims`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a JSON object with at most 20 claims and the value or values allowed for each, such as \
     {{\"token_use\": \"access\", \"/kubernetes.io/namespace\": [\"review\", \"audit\"]}}, without a claim twice; \
     values are strings, true or false"
)]
pub struct InvalidRequiredClaims;

impl FromStr for RequiredClaims {
    type Err = InvalidRequiredClaims;

    fn from_str(text: &str) -> Result<Self, InvalidRequiredClaims> {
        if text.len() > LIMIT_BYTES {
            return Err(InvalidRequiredClaims);
        }
        let UniqueNames(object) = serde_json::from_str(text).map_err(|_| InvalidRequiredClaims)?;
        let entry = |(path, values): (String, Value)| {
            let values = match values {
                Value::Array(values) => values,
                one => vec![one],
            };
            let is_valid = !values.is_empty()
                && values.iter().all(|value| matches!(value, Value::String(_) | Value::Bool(_)));
            is_valid.then_some((path.parse().ok()?, values))
        };
        let claims: Option<Vec<_>> = object.into_iter().map(entry).collect();
        claims
            .filter(|claims| (1..=CLAIMS_LIMIT).contains(&claims.len()))
            .map(Self)
            .ok_or(InvalidRequiredClaims)
    }
}

impl RequiredClaims {
    /// Checks that each claim is exactly one of its values. A list is not: not even one that has only allowed values.
    pub(super) fn check(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        for (path, allowed) in &self.0 {
            let claim = path.find(claims).map_err(|missing| {
                Refusal::invalid(missing.to_string()).with(format!(
                    "JWT_REQUIRED_CLAIMS requires {}",
                    shown(&Value::Array(allowed.clone()))
                ))
            })?;
            if !allowed.contains(claim) {
                let found = match claim {
                    Value::String(_) | Value::Bool(_) => shown(claim),
                    other => kind(other).to_owned(),
                };
                return Err(Refusal::invalid(format!(
                    "the token's claim {path} has a value that this server does not accept"
                ))
                .with(format!(
                    "it is {found}, and JWT_REQUIRED_CLAIMS requires {}",
                    shown(&Value::Array(allowed.clone()))
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_claim_must_be_one_of_its_values() {
        let required = r#"{"token_use": "access", "/kubernetes.io/namespace": ["a", "b"], "email_verified": true}"#;
        let required: RequiredClaims = required.parse().unwrap();
        let check = |changes: Value| {
            let mut claims = json!({
                "token_use": "access", "kubernetes.io": {"namespace": "b"}, "email_verified": true,
            });
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let checked = required.check(claims.as_object().unwrap());
            checked.map_err(|refusal| format!("{refusal}; {}", refusal.detail().unwrap()))
        };
        assert_eq!(check(json!({})), Ok(()));
        for (changes, part) in [
            (
                json!({"token_use": "id"}),
                r#"it is "id", and JWT_REQUIRED_CLAIMS requires ["access"]"#,
            ),
            (json!({"token_use": ["access"]}), "it is a list"),
            (json!({"token_use": null}), "it is null"),
            (json!({"email_verified": "true"}), r#"it is "true""#),
            (json!({"kubernetes.io": {"namespace": "c"}}), "/kubernetes.io/namespace has a value"),
            (json!({"kubernetes.io": {}}), "no claim /kubernetes.io/namespace"),
            (json!({"kubernetes.io": [{"namespace": "a"}]}), "is a list and not an object"),
        ] {
            let message = check(changes.clone()).unwrap_err();
            assert!(message.contains(part), "{changes}: {message}");
        }
    }

    #[test]
    fn answer_has_no_allowed_value() {
        let required: RequiredClaims = r#"{"azp": ["internal-app"]}"#.parse().unwrap();
        for claims in [json!({}), json!({"azp": "x"})] {
            let refusal = required.check(claims.as_object().unwrap()).unwrap_err();
            assert!(!refusal.to_string().contains("internal-app"), "{refusal}");
            assert!(refusal.to_string().contains("azp"), "{refusal}");
        }
    }

    #[test]
    fn invalid_claims_are_refused() {
        let many: Map<String, Value> =
            (0..=CLAIMS_LIMIT).map(|number| (number.to_string(), json!("x"))).collect();
        for text in [
            "",
            "{}",
            "[]",
            r#"{"a": 1}"#,
            r#"{"a": []}"#,
            r#"{"a": {}}"#,
            r#"{"/": "x"}"#,
            r#"{"a": "x", "a": "y"}"#,
            &Value::Object(many).to_string(),
        ] {
            assert_eq!(text.parse::<RequiredClaims>(), Err(InvalidRequiredClaims), "{text}");
        }
    }
}
