//! Validation of the claims of a token with a valid signature (RFC 7519, section 4.1).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{
    JwtSettings, Refusal, is_name,
    role_names::{Granted, granted},
    shown::shown,
};

/// Returns the caller's name if the token meets these settings at this time. Each claim must have exactly the form
/// that the standard defines: a form that another parser may interpret differently is refused.
pub(super) fn checked_name<'a>(
    claims: &'a Map<String, Value>,
    settings: &JwtSettings,
    now: SystemTime,
) -> Result<&'a str, Refusal> {
    check_issuer(required(claims, "iss")?, &settings.issuers)?;
    check_audiences(claims, settings)?;
    check_times(claims, settings.leeway, now)?;
    settings.required_claims.check(claims)?;
    check_email(claims, settings)?;
    let path = &settings.name_claim;
    let claim = path.find(claims).map_err(|missing| {
        Refusal::invalid(missing.to_string()).with("JWT_NAME_CLAIM names it as the caller's name")
    })?;
    let described =
        if path.is("sub") { "subject (sub)".to_owned() } else { format!("claim {path}") };
    let name = claim
        .as_str()
        .ok_or_else(|| Refusal::invalid(format!("the token's {described} is not a string")))?;
    is_name(name).then_some(name).ok_or_else(|| {
        Refusal::invalid(format!("the token's {described} is not a name")).with(format!(
            "it is {}; a name has 1 to 255 bytes and no control characters",
            shown(claim)
        ))
    })
}

/// The caller's roles. A claim that identifies the caller is one value: a space in it does not add another one.
pub(super) fn roles(claims: &Map<String, Value>, settings: &JwtSettings) -> Granted {
    let path = &settings.roles_claim;
    let is_one_value = path == &settings.name_claim || path.is("sub") || path.is(EMAIL);
    granted(claims, path, is_one_value, &settings.role_names)
}

const AUDIENCE: &str = "aud";
const EMAIL: &str = "email";

fn required<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a Value, Refusal> {
    claims.get(name).ok_or_else(|| Refusal::invalid(format!("the token has no claim {name}")))
}

fn check_issuer(issuer: &Value, expected: &[String]) -> Result<(), Refusal> {
    match issuer {
        Value::String(name) if expected.contains(name) => Ok(()),
        Value::String(_) => Err(Refusal::invalid("the token was issued by another issuer (iss)")
            .with(format!("iss is {}, and JWT_ISSUER requires {expected:?}", shown(issuer)))),
        Value::Array(_) => {
            Err(Refusal::invalid("the token's issuer (iss) is a list: it must be one string"))
        }
        _ => Err(Refusal::invalid("the token's issuer (iss) is not a string")),
    }
}

/// Another claim than `aud` does not replace it: a token that has `aud` is for its audience only (RFC 7519, section
/// 4.1.3).
fn check_audiences(claims: &Map<String, Value>, settings: &JwtSettings) -> Result<(), Refusal> {
    let path = &settings.audience_claim;
    let audience = path.find(claims).map_err(|missing| {
        let setting = format!("JWT_AUDIENCE_CLAIM is {path}");
        Refusal::invalid(missing.to_string()).with(setting)
    })?;
    check_audience(audience, &path.to_string(), settings)?;
    match claims.get(AUDIENCE) {
        Some(standard) if !path.is(AUDIENCE) => check_audience(standard, AUDIENCE, settings),
        _ => Ok(()),
    }
}

fn check_audience(audience: &Value, claim: &str, settings: &JwtSettings) -> Result<(), Refusal> {
    let audiences = match audience {
        Value::Array(audiences) => audiences.as_slice(),
        one => std::slice::from_ref(one),
    };
    if !audiences.iter().all(Value::is_string) {
        let message =
            format!("the token's audience ({claim}) is neither a string nor a list of strings");
        return Err(Refusal::invalid(message));
    }
    let expected = &settings.audiences;
    let mut named = audiences.iter().filter_map(Value::as_str);
    if named.any(|audience| expected.iter().any(|expected| expected == audience)) {
        return Ok(());
    }
    let detail = format!("{claim} is {}, and JWT_AUDIENCE requires {expected:?}", shown(audience));
    Err(Refusal::invalid(format!("the token is for another audience ({claim})")).with(detail))
}

fn check_times(
    claims: &Map<String, Value>,
    leeway: Duration,
    now: SystemTime,
) -> Result<(), Refusal> {
    let (leeway, now) = (leeway.as_secs_f64(), seconds(now));
    let expiry = required(claims, "exp")?.as_f64();
    let expiry =
        expiry.ok_or_else(|| Refusal::invalid("the token's expiry (exp) is not a number"))?;
    if expiry < now - leeway {
        let ago = now - expiry;
        return Err(Refusal::EXPIRED.with(format!("{ago:.0} s ago, and JWT_LEEWAY is {leeway} s")));
    }
    if let Some(start) = claims.get("nbf") {
        let start = start.as_f64();
        let start =
            start.ok_or_else(|| Refusal::invalid("the token's start (nbf) is not a number"))?;
        if start > now + leeway {
            let wait = start - now;
            return Err(Refusal::invalid("the token is not valid yet (nbf)")
                .with(format!("it starts in {wait:.0} s, and JWT_LEEWAY is {leeway} s")));
        }
    }
    Ok(())
}

/// A user may have chosen an address that the issuer has not verified, such as that of another user.
fn check_email(claims: &Map<String, Value>, settings: &JwtSettings) -> Result<(), Refusal> {
    if !settings.name_claim.is(EMAIL) && !settings.roles_claim.is(EMAIL) {
        return Ok(());
    }
    if !claims.contains_key(EMAIL) || claims.get("email_verified") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    Err(Refusal::invalid("the token's address (email) is not verified (email_verified)")
        .with("JWT_NAME_CLAIM or JWT_ROLES_CLAIM is email, which needs email_verified=true"))
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
    use crate::{KeySource, RequiredClaims, RoleNames};

    const NOW: f64 = 1_800_000_000.0;

    fn settings() -> JwtSettings {
        JwtSettings {
            issuers: vec!["https://login.example.com/".to_owned()],
            audiences: vec!["tara-export".to_owned(), "tara-export-2".to_owned()],
            audience_claim: "aud".parse().unwrap(),
            name_claim: "sub".parse().unwrap(),
            required_claims: RequiredClaims::default(),
            roles_claim: "roles".parse().unwrap(),
            role_names: RoleNames::Prefixed(String::new()),
            keys: KeySource::File(PathBuf::new()),
            leeway: Duration::from_secs(30),
        }
    }

    fn name_with(settings: &JwtSettings, changes: Value) -> Result<String, Refusal> {
        let mut claims = json!({
            "iss": "https://login.example.com/", "aud": "tara-export", "sub": "ada", "exp": NOW + 60.0,
        });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let now = UNIX_EPOCH + Duration::from_secs_f64(NOW);
        checked_name(claims.as_object().unwrap(), settings, now).map(str::to_owned)
    }

    fn name(changes: Value) -> Result<String, String> {
        name_with(&settings(), changes).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn token_is_valid_from_start_to_expiry_with_leeway() {
        let expired = Err(Refusal::EXPIRED.to_string());
        let early = Err("the token is not valid yet (nbf)".to_owned());
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
            assert_eq!(name(changes.clone()), expected, "{changes}");
        }
        let expired = name_with(&settings(), json!({"exp": NOW - 90.0})).unwrap_err();
        assert_eq!(expired.detail(), Some("90 s ago, and JWT_LEEWAY is 30 s"));
    }

    #[test]
    fn audience_is_a_string_or_list_and_issuer_is_a_string() {
        for changes in [
            json!({"aud": ["a", "tara-export"]}),
            json!({"aud": ["tara-export"]}),
            json!({"aud": "tara-export-2"}),
        ] {
            assert_eq!(name(changes).as_deref(), Ok("ada"));
        }
        for (changes, part) in [
            (json!({"iss": ["https://login.example.com/"]}), "(iss) is a list"),
            (json!({"iss": "https://login.example.com"}), "another issuer"),
            (json!({"iss": "https://login.example.com/evil"}), "another issuer"),
            (json!({"iss": "https://LOGIN.example.com/"}), "another issuer"),
            (json!({"iss": "https://login.example.com/\u{0}"}), "another issuer"),
            (json!({"iss": true}), "(iss) is not a string"),
            (json!({"aud": []}), "another audience"),
            (json!({"aud": "Tara-export"}), "another audience"),
            (json!({"aud": "tara-export tara-export-2"}), "another audience"),
            (json!({"aud": [["tara-export"]]}), "(aud) is neither"),
            (json!({"aud": ["tara-export", null]}), "(aud) is neither"),
            (json!({"sub": {}}), "(sub) is not a string"),
            (json!({"sub": ""}), "(sub) is not a name"),
            (json!({"exp": "1800000060"}), "(exp) is not a number"),
            (json!({"nbf": []}), "(nbf) is not a number"),
        ] {
            let refusal = name(changes.clone()).unwrap_err();
            assert!(refusal.contains(part), "{changes}: {refusal}");
        }
    }

    #[test]
    fn another_audience_claim_does_not_replace_aud() {
        let mut settings = settings();
        settings.audience_claim = "client_id".parse().unwrap();
        let ours = json!("tara-export");
        for (changes, expected) in [
            (json!({"client_id": ours}), Ok("ada")),
            (json!({"client_id": ours, "aud": ["x", "tara-export-2"]}), Ok("ada")),
            (json!({"client_id": ours, "aud": "other"}), Err("another audience (aud)")),
            (json!({"client_id": "other"}), Err("another audience (client_id)")),
            (json!({"client_id": {"a": ours}}), Err("(client_id) is neither")),
            (json!({}), Err("no claim client_id")),
        ] {
            let found = name_with(&settings, changes.clone());
            match expected {
                Ok(name) => assert_eq!(found.unwrap(), name, "{changes}"),
                Err(part) => {
                    let refusal = found.unwrap_err();
                    assert!(refusal.to_string().contains(part), "{changes}: {refusal}");
                }
            }
        }
    }

    #[test]
    fn address_identifies_a_caller_only_if_it_is_verified() {
        let by_name = JwtSettings { name_claim: "email".parse().unwrap(), ..settings() };
        let by_role = JwtSettings { roles_claim: "email".parse().unwrap(), ..settings() };
        for (verified, is_valid) in [
            (json!(true), true),
            (json!(false), false),
            (json!("true"), false),
            (json!(null), false),
        ] {
            let claims = json!({"email": "ada@example.com", "email_verified": verified});
            let named = name_with(&by_name, claims.clone());
            assert_eq!(named.is_ok(), is_valid, "{claims}");
            assert_eq!(name_with(&by_role, claims.clone()).is_ok(), is_valid, "{claims}");
            assert!(name_with(&settings(), claims).is_ok());
            if let Ok(name) = named {
                assert_eq!(name, "ada@example.com");
            }
        }
        let missing = name_with(&by_name, json!({"email_verified": true})).unwrap_err();
        assert_eq!(missing.to_string(), "the token has no claim email");
        assert!(name_with(&by_name, json!({"email": "ada@example.com"})).is_err());
    }

    #[test]
    fn answer_has_no_expected_value_and_the_detail_has_it() {
        for (changes, expected) in [
            (json!({"iss": "https://x/"}), "https://login.example.com/"),
            (json!({"aud": "x"}), "tara-export-2"),
        ] {
            let refusal = name_with(&settings(), changes).unwrap_err();
            assert!(!refusal.to_string().contains(expected), "{refusal}");
            assert!(refusal.detail().unwrap().contains(expected), "{refusal:?}");
        }
    }
}
