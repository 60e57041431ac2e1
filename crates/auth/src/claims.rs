//! Validation of the claims of a token with a valid signature (RFC 7519, section 4.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{JwtSettings, Refusal, is_name};

const MISSING: Refusal = Refusal::Invalid("the token needs the claims exp, iss, aud and sub");

/// Returns the caller's name if the token meets these settings at this time. Each claim must have exactly the form
/// that the standard defines: a form that another parser may interpret differently is refused.
pub(super) fn checked_subject<'a>(
    claims: &'a Map<String, Value>,
    settings: &JwtSettings,
    now: SystemTime,
) -> Result<&'a str, Refusal> {
    let required = |name| claims.get(name).ok_or(MISSING);
    check_issuer(required("iss")?, &settings.issuer)?;
    check_audience(required("aud")?, &settings.audience)?;
    let expiry = required("exp")?.as_f64();
    let expiry = expiry.ok_or(Refusal::Invalid("the token's expiry (exp) is not a number"))?;
    if expiry < seconds(now) - settings.leeway.as_secs_f64() {
        return Err(Refusal::Expired);
    }
    if let Some(start) = claims.get("nbf") {
        let start = start.as_f64();
        let start = start.ok_or(Refusal::Invalid("the token's start (nbf) is not a number"))?;
        if start > seconds(now) + settings.leeway.as_secs_f64() {
            return Err(Refusal::Invalid("the token is not valid yet (nbf)"));
        }
    }
    let subject = required("sub")?.as_str();
    let subject = subject.ok_or(Refusal::Invalid("the token's subject (sub) is not a string"))?;
    let is_valid = is_name(subject);
    is_valid.then_some(subject).ok_or(Refusal::Invalid("the token's subject (sub) is not a name"))
}

fn check_issuer(issuer: &Value, expected: &str) -> Result<(), Refusal> {
    match issuer {
        Value::String(issuer) if issuer == expected => Ok(()),
        Value::String(_) => {
            Err(Refusal::Invalid("the token was issued by another issuer (JWT_ISSUER)"))
        }
        Value::Array(_) => {
            Err(Refusal::Invalid("the token's issuer (iss) is a list: it must be one string"))
        }
        _ => Err(Refusal::Invalid("the token's issuer (iss) is not a string")),
    }
}

fn check_audience(audience: &Value, expected: &str) -> Result<(), Refusal> {
    let audiences = match audience {
        Value::Array(audiences) => audiences.as_slice(),
        one => std::slice::from_ref(one),
    };
    if !audiences.iter().all(Value::is_string) {
        return Err(Refusal::Invalid(
            "the token's audience (aud) is neither a string nor a list of strings",
        ));
    }
    let is_expected = audiences.iter().any(|audience| audience == expected);
    let other = Refusal::Invalid("the token is for another audience (JWT_AUDIENCE)");
    is_expected.then_some(()).ok_or(other)
}

/// Seconds since 1970, the unit of time claims.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::KeySource;

    const NOW: f64 = 1_800_000_000.0;

    fn subject(changes: Value) -> Result<String, Refusal> {
        let settings = JwtSettings {
            issuer: "https://login.example.com/".to_owned(),
            audience: "tara-export".to_owned(),
            keys: KeySource::File(PathBuf::new()),
            leeway: Duration::from_secs(30),
            roles_claim: "roles".to_owned(),
            role_prefix: String::new(),
        };
        let mut claims = json!({
            "iss": "https://login.example.com/", "aud": "tara-export", "sub": "ada", "exp": NOW + 60.0,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let now = UNIX_EPOCH + Duration::from_secs_f64(NOW);
        checked_subject(claims.as_object().unwrap(), &settings, now).map(str::to_owned)
    }

    #[test]
    fn token_is_valid_from_start_to_expiry_with_leeway() {
        let expired = Err(Refusal::Expired);
        let early = Err(Refusal::Invalid("the token is not valid yet (nbf)"));
        let valid = Ok("ada".to_owned());
        for (changes, expected) in [
            (json!({}), valid.clone()),
            (json!({"exp": NOW - 30.0}), valid.clone()),
            (json!({"exp": NOW - 30.5}), expired.clone()),
            (json!({"exp": -1}), expired.clone()),
            (json!({"exp": 0}), expired),
            (json!({"exp": 1e300}), valid.clone()),
            (json!({"nbf": NOW + 30.0}), valid.clone()),
            (json!({"nbf": NOW + 30.5}), early.clone()),
            (json!({"nbf": 1e300}), early),
            (json!({"nbf": -1}), valid),
        ] {
            assert_eq!(subject(changes.clone()), expected, "{changes}");
        }
    }

    #[test]
    fn audience_is_a_string_or_list_and_issuer_is_a_string() {
        for changes in [json!({"aud": ["a", "tara-export"]}), json!({"aud": ["tara-export"]})] {
            assert_eq!(subject(changes).as_deref(), Ok("ada"));
        }
        for (changes, part) in [
            (json!({"iss": ["https://login.example.com/"]}), "(iss) is a list"),
            (json!({"iss": "https://login.example.com"}), "another issuer"),
            (json!({"iss": true}), "(iss) is not a string"),
            (json!({"aud": []}), "another audience"),
            (json!({"aud": "Tara-export"}), "another audience"),
            (json!({"aud": [["tara-export"]]}), "(aud) is neither"),
            (json!({"aud": ["tara-export", null]}), "(aud) is neither"),
            (json!({"sub": {}}), "(sub) is not a string"),
            (json!({"sub": ""}), "(sub) is not a name"),
            (json!({"exp": "1800000060"}), "(exp) is not a number"),
            (json!({"nbf": []}), "(nbf) is not a number"),
        ] {
            let refusal = subject(changes.clone()).unwrap_err().to_string();
            assert!(refusal.contains(part), "{changes}: {refusal}");
        }
    }
}
