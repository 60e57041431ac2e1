//! Static bearer tokens, stored as digests.

use std::{path::PathBuf, sync::Arc};

use serde::Deserialize;
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use tara_export_digest::Sha256;

use super::{AuthSetupError, Caller, Role, file::WatchedFile, is_name};

/// Maximum number of tokens: this is not a user database.
const TOKENS_LIMIT: usize = 10_000;

/// The tokens of a file.
#[derive(Debug)]
pub(super) struct StaticTokens(WatchedFile<Vec<StaticToken>>);

#[derive(Debug)]
struct StaticToken {
    sha256: Sha256,
    caller: Caller,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokensFile {
    tokens: Vec<TokenEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenEntry {
    name: String,
    roles: Vec<Role>,
    sha256: Sha256,
}

impl StaticTokens {
    pub(super) fn open(path: PathBuf) -> Result<Self, AuthSetupError> {
        WatchedFile::open("AUTH_TOKENS_FILE", path, parse).map(Self)
    }

    pub(super) fn refresh(&self) {
        self.0.refresh();
    }

    /// Finds the caller of a token in constant time: compares all tokens completely.
    pub(super) fn find(&self, token: &str) -> Option<Caller> {
        let tokens = self.0.value();
        let sha256 = Sha256::of(token.as_bytes());
        let mut found = u32::MAX;
        for (index, known) in (0u32..).zip(tokens.iter()) {
            let is_equal: Choice = known.sha256.as_bytes()[..].ct_eq(&sha256.as_bytes()[..]);
            found.conditional_assign(&index, is_equal);
        }
        tokens.get(found as usize).map(|known| known.caller.clone())
    }
}

fn parse(bytes: &[u8]) -> Result<Vec<StaticToken>, String> {
    let file: TokensFile = serde_json::from_slice(bytes).map_err(|error| {
        // Reports the position of the error but not the content, which may be a token.
        format!(
            "must be {{\"tokens\": [{{\"name\": …, \"roles\": [\"export\", \"read\", \"admin\"], \"sha256\": …}}]}}; \
             error at line {} column {}",
            error.line(),
            error.column()
        )
    })?;
    if file.tokens.len() > TOKENS_LIMIT {
        return Err(format!("has more than {TOKENS_LIMIT} tokens"));
    }
    let mut tokens: Vec<StaticToken> = Vec::with_capacity(file.tokens.len());
    for (number, TokenEntry { name, roles, sha256 }) in file.tokens.into_iter().enumerate() {
        if !is_name(&name) {
            return Err(format!("token {number} needs a name of at most 255 bytes"));
        }
        if roles.is_empty() {
            return Err(format!("the token {name} has no role"));
        }
        if sha256 == Sha256::of(b"") {
            return Err(format!("the token {name} has the digest of the empty string"));
        }
        if let Some(other) = tokens.iter().find(|other| other.sha256 == sha256) {
            return Err(format!("the tokens {} and {name} are the same", other.caller.name));
        }
        let roles = roles.into_iter().collect();
        let caller = Caller { name: Arc::from(name), roles, why_no_role: None };
        tokens.push(StaticToken { sha256, caller });
    }
    Ok(tokens)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn file(name: &str, token: &str, roles: &str) -> String {
        let sha256 = Sha256::of(token.as_bytes());
        format!(r#"{{"tokens": [{{"name": "{name}", "roles": {roles}, "sha256": "{sha256}"}}]}}"#)
    }

    #[test]
    fn token_is_accepted_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        fs::write(&path, file("review", "secret", r#"["export"]"#)).unwrap();
        let tokens = StaticTokens::open(path.clone()).unwrap();
        let caller = tokens.find("secret").unwrap();
        assert_eq!(&*caller.name, "review");
        assert!(caller.roles.has(Role::Export) && !caller.roles.has(Role::Read));
        assert_eq!(tokens.find("Secret"), None);
        assert_eq!(tokens.find(&Sha256::of(b"secret").to_string()), None);

        fs::write(&path, file("auditor", "other", r#"["read"]"#)).unwrap();
        tokens.refresh();
        assert_eq!(tokens.find("secret"), None);
        assert_eq!(&*tokens.find("other").unwrap().name, "auditor");

        // An invalid file changes nothing.
        fs::write(&path, "{").unwrap();
        tokens.refresh();
        assert!(tokens.find("other").is_some());
    }

    #[test]
    fn error_of_an_invalid_file_has_its_setting_and_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.json");
        let missing = StaticTokens::open(path.clone()).unwrap_err().to_string();
        assert!(
            missing.contains("AUTH_TOKENS_FILE") && missing.contains("tokens.json"),
            "{missing}"
        );
        let twice = file("a", "x", r#"["read"]"#).replacen(
            r#"{"tokens": ["#,
            &format!(
                r#"{{"tokens": [{{"name": "b", "roles": ["read"], "sha256": "{}"}}, "#,
                Sha256::of(b"x")
            ),
            1,
        );
        for (text, part) in [
            (file("a", "x", "[]"), "no role"),
            (file("a", "x", r#"["owner"]"#), "line 1"),
            (file("", "x", r#"["read"]"#), "needs a name"),
            (file("a", "", r#"["read"]"#), "digest of the empty string"),
            (twice, "are the same"),
            (
                r#"{"tokens": [{"name": "a", "roles": ["read"], "sha256": "hunter2"}]}"#.into(),
                "line 1",
            ),
        ] {
            fs::write(&path, &text).unwrap();
            let message = StaticTokens::open(path.clone()).unwrap_err().to_string();
            assert!(message.contains("AUTH_TOKENS_FILE") && message.contains(part), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
