//! The place of a claim in a token.

use std::{fmt, str::FromStr};

use serde_json::{Map, Value};

/// Maximum length of a path.
const PATH_LIMIT_BYTES: usize = 1024;

/// The place of a claim: the name of one claim, such as `roles`, `cognito:groups` or `https://example.com/roles`; or,
/// if it starts with a slash, a JSON Pointer (RFC 6901) into nested objects, such as `/realm_access/roles`. In a
/// pointer, `~1` is a slash and `~0` a tilde. It leads through objects only: a position in a list is no claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath {
    text: String,
    names: Vec<String>,
}

/// A text is not the place of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the name of a claim, such as roles or https://example.com/roles, or the path of a nested one, such as \
     /realm_access/roles, where ~1 is a slash and ~0 a tilde; of at most 1024 bytes, without empty parts"
)]
pub struct InvalidClaimPath;

impl FromStr for ClaimPath {
    type Err = InvalidClaimPath;

    fn from_str(text: &str) -> Result<Self, InvalidClaimPath> {
        if text.is_empty() || text.len() > PATH_LIMIT_BYTES || text.chars().any(char::is_control) {
            return Err(InvalidClaimPath);
        }
        let names = match text.strip_prefix('/') {
            None => vec![text.to_owned()],
            Some(pointer) => pointer.split('/').map(name).collect::<Result<_, _>>()?,
        };
        Ok(Self { text: text.to_owned(), names })
    }
}

/// A name as a part of a pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// Resolves the escapes of one part of a pointer.
fn name(part: &str) -> Result<String, InvalidClaimPath> {
    let mut pieces = part.split('~');
    let mut name = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match piece.as_bytes().first() {
            Some(b'0') => ('~', &piece[1..]),
            Some(b'1') => ('/', &piece[1..]),
            _ => return Err(InvalidClaimPath),
        };
        name.push(character);
        name.push_str(rest);
    }
    if name.is_empty() { Err(InvalidClaimPath) } else { Ok(name) }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// A token does not have a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoClaim {
    /// The path of the part that is missing or not an object.
    at: Vec<String>,
    /// What the part is instead of an object. `None` if it is missing.
    is: Option<&'static str>,
}

impl fmt::Display for NoClaim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = match self.at.as_slice() {
            [name] => name.clone(),
            names => names.iter().map(|name| format!("/{}", escaped(name))).collect(),
        };
        match self.is {
            None => write!(formatter, "the token has no claim {at}"),
            Some(kind) => write!(formatter, "the token's claim {at} is {kind} and not an object"),
        }
    }
}

impl ClaimPath {
    /// The claim with this name, whatever characters it has.
    pub fn named(name: &str) -> Self {
        let text = match name.starts_with('/') {
            true => format!("/{}", escaped(name)),
            false => name.to_owned(),
        };
        Self { text, names: vec![name.to_owned()] }
    }

    /// Whether this is the name of a claim itself, not of a nested one.
    pub(super) fn is(&self, name: &str) -> bool {
        matches!(self.names.as_slice(), [only] if only == name)
    }

    /// Whether this looks like the dotted path of a nested claim, which is the name of one claim here.
    pub fn looks_dotted(&self) -> bool {
        let [name] = self.names.as_slice() else { return false };
        let is_url = name.contains(['/', ':']);
        !is_url && name.split('.').count() > 1 && name.split('.').all(|part| !part.is_empty())
    }

    /// The claim's value.
    pub(super) fn find<'a>(&self, claims: &'a Map<String, Value>) -> Result<&'a Value, NoClaim> {
        let at = |depth: usize| self.names[..depth].to_vec();
        let mut object = claims;
        let Some((last, parents)) = self.names.split_last() else {
            return Err(NoClaim { at: Vec::new(), is: None });
        };
        for (number, name) in parents.iter().enumerate() {
            object = match object.get(name) {
                Some(Value::Object(nested)) => nested,
                Some(other) => return Err(NoClaim { at: at(number + 1), is: Some(kind(other)) }),
                None => return Err(NoClaim { at: at(number + 1), is: None }),
            };
        }
        object.get(last).ok_or_else(|| NoClaim { at: self.names.clone(), is: None })
    }
}

/// What a value is, with its article.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn find(path: &str, claims: &Value) -> Result<Value, String> {
        let path: ClaimPath = path.parse().unwrap();
        assert_eq!(path.to_string().parse(), Ok(path.clone()));
        path.find(claims.as_object().unwrap()).cloned().map_err(|error| error.to_string())
    }

    #[test]
    fn path_leads_to_a_name_or_into_nested_objects() {
        let claims = json!({
            "roles": 1,
            "realm_access": {"roles": 2},
            "realm_access.roles": 3,
            "https://example.com/roles": 4,
            "cognito:groups": 5,
            "resource_access": {"https://app.example.com/a": {"roles": 6}, "com.example.app": {"roles": 7}},
            "/odd": 8,
            "a~b": {"c": 9},
            "kubernetes.io": {"namespace": 10},
        });
        for (path, value) in [
            ("roles", 1),
            ("/roles", 1),
            ("/realm_access/roles", 2),
            ("realm_access.roles", 3),
            ("https://example.com/roles", 4),
            ("cognito:groups", 5),
            ("/resource_access/https:~1~1app.example.com~1a/roles", 6),
            ("/resource_access/com.example.app/roles", 7),
            ("/~1odd", 8),
            ("/a~0b/c", 9),
            ("/kubernetes.io/namespace", 10),
        ] {
            assert_eq!(find(path, &claims), Ok(json!(value)), "{path}");
        }
    }

    #[test]
    fn path_does_not_lead_through_lists_and_other_values() {
        let claims = json!({"list": [{"roles": ["admin"]}, "admin"], "text": "admin", "none": null, "object": {}});
        for (path, message) in [
            ("/list/0/roles", "the token's claim list is a list and not an object"),
            ("/list/1", "the token's claim list is a list and not an object"),
            ("/text/0", "the token's claim text is a string and not an object"),
            ("/none/roles", "the token's claim none is null and not an object"),
            ("/object/roles", "the token has no claim /object/roles"),
            ("/object/roles/more", "the token has no claim /object/roles"),
            ("list.roles", "the token has no claim list.roles"),
        ] {
            assert_eq!(find(path, &claims), Err(message.to_owned()), "{path}");
        }
    }

    #[test]
    fn named_claim_has_the_path_that_parses_to_it() {
        for name in ["aud", "/odd", "/a~b", "https://example.com/roles", "a.b"] {
            let path = ClaimPath::named(name);
            assert!(path.is(name));
            assert_eq!(path.to_string().parse(), Ok(path));
        }
    }

    #[test]
    fn invalid_paths_are_refused() {
        let long = "a".repeat(PATH_LIMIT_BYTES + 1);
        for text in ["", "/", "//", "/a/", "/a//b", "/~", "/~2", "/a~", "a\nb", &long] {
            assert_eq!(text.parse::<ClaimPath>(), Err(InvalidClaimPath), "{text}");
        }
    }

    #[test]
    fn dotted_path_is_recognized() {
        let looks = |text: &str| text.parse::<ClaimPath>().unwrap().looks_dotted();
        assert!(looks("realm_access.roles") && looks("resource_access.app.roles"));
        for text in ["roles", "/realm_access/roles", "https://example.com/roles", "/a.b/c", "a."] {
            assert!(!looks(text), "{text}");
        }
    }
}
