//! The names of this service's roles in a token.

use std::{collections::BTreeMap, str::FromStr};

use serde_json::{Map, Value};

use super::{
    Role, Roles,
    claim_path::{ClaimPath, kind},
    json_object::UniqueNames,
    shown::shown,
};

/// Maximum length of the text of a map.
const MAP_LIMIT_BYTES: usize = 64 * 1024;

/// How the values of the roles claim name the roles of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleNames {
    /// The names of [`Role::as_str`], each after this prefix. Other values are ignored.
    Prefixed(String),
    /// Only the values in this map.
    Mapped(RoleMap),
}

/// The roles of an issuer's groups, roles, scopes or names of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleMap(BTreeMap<String, Vec<Role>>);

/// A text is not a [`RoleMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a JSON object with the issuer's values and the role or roles of each, such as \
     {{\"auditors\": \"read\", \"operators\": [\"export\", \"read\"]}}, without a value twice, of at most 64 KiB; \
     roles are export, read and admin"
)]
pub struct InvalidRoleMap;

impl FromStr for RoleMap {
    type Err = InvalidRoleMap;

    fn from_str(text: &str) -> Result<Self, InvalidRoleMap> {
        if text.len() > MAP_LIMIT_BYTES {
            return Err(InvalidRoleMap);
        }
        let UniqueNames(object) = serde_json::from_str(text).map_err(|_| InvalidRoleMap)?;
        let entry = |(name, roles): (String, Value)| {
            let roles = match roles {
                Value::Array(roles) => roles,
                one => vec![one],
            };
            let roles: Option<Vec<Role>> =
                roles.iter().map(|role| role.as_str().and_then(Role::parse)).collect();
            let roles = roles.filter(|roles| !roles.is_empty() && !name.is_empty())?;
            Some((name, roles))
        };
        let map: Option<BTreeMap<_, _>> = object.into_iter().map(entry).collect();
        map.filter(|map| !map.is_empty()).map(Self).ok_or(InvalidRoleMap)
    }
}

impl RoleNames {
    /// The roles that one value of the claim names.
    fn of(&self, value: &str) -> Vec<Role> {
        match self {
            Self::Prefixed(prefix) => {
                value.strip_prefix(prefix).and_then(Role::parse).into_iter().collect()
            }
            Self::Mapped(RoleMap(map)) => map.get(value).cloned().unwrap_or_default(),
        }
    }

    fn setting(&self) -> &'static str {
        match self {
            Self::Prefixed(prefix) if prefix.is_empty() => "JWT_ROLE_PREFIX, JWT_ROLE_MAP",
            Self::Prefixed(_) => "JWT_ROLE_PREFIX",
            Self::Mapped(_) => "JWT_ROLE_MAP",
        }
    }
}

/// The roles of a caller.
pub(super) struct Granted {
    pub(super) roles: Roles,
    /// Why there are none, for the operator.
    pub(super) why_none: Option<String>,
}

/// The roles in a token's claim: a list of strings, or a string with spaces between the values, as in `scope`. If
/// `is_one_value`, a string is one value, whatever it contains.
pub(super) fn granted(
    claims: &Map<String, Value>,
    path: &ClaimPath,
    is_one_value: bool,
    names: &RoleNames,
) -> Granted {
    let none = |why| Granted { roles: Roles::default(), why_none: Some(why) };
    let claim = match path.find(claims) {
        Ok(claim) => claim,
        Err(missing) => return none(format!("{missing} (JWT_ROLES_CLAIM)")),
    };
    let values: Vec<&str> = match claim {
        // Other elements name no role.
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        Value::String(value) if is_one_value => vec![value],
        Value::String(values) => values.split(' ').collect(),
        other => {
            let kind = kind(other);
            return none(format!(
                "the token's claim {path} is {kind}: neither a list nor a string (JWT_ROLES_CLAIM)"
            ));
        }
    };
    let roles: Vec<Role> = values.into_iter().flat_map(|value| names.of(value)).collect();
    let why_none = roles.is_empty().then(|| {
        let setting = names.setting();
        format!(
            "the token's claim {path} is {}, which names no role here ({setting})",
            shown(claim)
        )
    });
    Granted { roles: roles.into_iter().collect(), why_none }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn roles(claim: Value, names: &RoleNames, is_one_value: bool) -> (Vec<Role>, String) {
        let claims = json!({ "x": claim });
        let path = "x".parse().unwrap();
        let granted = granted(claims.as_object().unwrap(), &path, is_one_value, names);
        // An admin has every role.
        let has = |role: &Role| granted.roles.has(*role);
        let roles = Role::ALL.into_iter().filter(has).collect();
        (roles, granted.why_none.unwrap_or_default())
    }

    #[test]
    fn only_values_in_the_map_grant_roles() {
        use Role::{Export, Read};
        let map =
            r#"{"Review Apps": "export", "CN=audit,OU=x": ["read"], "ops": ["export", "read"]}"#;
        let names = RoleNames::Mapped(map.parse().unwrap());
        for (claim, expected) in [
            (json!(["Review Apps"]), vec![Export]),
            (json!(["CN=audit,OU=x", "other"]), vec![Read]),
            (json!("other ops"), vec![Export, Read]),
            (json!(["ops "]), vec![]),
            (json!(["OPS"]), vec![]),
            // The names of roles themselves grant nothing.
            (json!(["admin", "read", "export"]), vec![]),
            (json!("admin"), vec![]),
            (json!([["ops"], {"ops": 1}, 7]), vec![]),
        ] {
            assert_eq!(roles(claim.clone(), &names, false).0, expected, "{claim}");
        }
    }

    #[test]
    fn claim_of_one_value_is_not_split() {
        let names = RoleNames::Mapped(r#"{"ada": "read", "a b": "export"}"#.parse().unwrap());
        assert_eq!(roles(json!("eve ada"), &names, true).0, []);
        assert_eq!(roles(json!("a b"), &names, true).0, [Role::Export]);
        assert_eq!(roles(json!("eve ada"), &names, false).0, [Role::Read]);
        let names = RoleNames::Prefixed(String::new());
        assert_eq!(roles(json!("eve admin"), &names, true).0, []);
    }

    #[test]
    fn reason_for_no_role_names_the_claim_and_its_value() {
        let names = RoleNames::Prefixed("tara/".to_owned());
        for (claim, part) in [
            (json!({"read": true}), "x is an object: neither a list nor a string"),
            (json!(7), "x is a number"),
            (json!(null), "x is null"),
            (json!(["read"]), r#"x is ["read"], which names no role here (JWT_ROLE_PREFIX)"#),
            (json!(""), "names no role"),
        ] {
            let (roles, why) = roles(claim.clone(), &names, false);
            assert!(roles.is_empty() && why.contains(part), "{claim}: {why}");
        }
    }

    #[test]
    fn invalid_maps_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"a": "owner"}"#,
            r#"{"a": []}"#,
            r#"{"a": ["read", 7]}"#,
            r#"{"": "read"}"#,
            r#"{"a": "read", "a": "admin"}"#,
            "a=read",
        ] {
            assert_eq!(text.parse::<RoleMap>(), Err(InvalidRoleMap), "{text}");
        }
        let long = format!(r#"{{"{}": "read"}}"#, "a".repeat(MAP_LIMIT_BYTES));
        assert_eq!(long.parse::<RoleMap>(), Err(InvalidRoleMap));
    }
}
