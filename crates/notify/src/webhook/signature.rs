//! Signatures of requests.
//!
//! Source: Standard Webhooks 1.0.0, "Signature scheme", <https://www.standardwebhooks.com>.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Maximum number of secrets: the new and the previous one.
pub(super) const MAX_SECRETS: usize = 2;
/// Maximum size of a file with a secret.
pub(super) const SECRET_FILE_LIMIT_BYTES: u64 = 1024;
/// The start of a secret.
const PREFIX: &str = "whsec_";

/// One secret.
pub(super) struct Secret(Hmac<Sha256>);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret")
    }
}

impl Secret {
    /// What a secret must be, for messages.
    pub(super) const RULE: &str = "whsec_ and the base64 of 24 to 64 bytes";

    /// Parses a secret. `None` if it is not one.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        if !(24..=64).contains(&key.len()) {
            return None;
        }
        Hmac::new_from_slice(&key).ok().map(Self)
    }

    /// The signature of a request, as in `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = self.0.clone();
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn signature_is_that_of_the_specification() {
        // The example of the specification and of its libraries' tests.
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        assert_eq!(
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn only_secrets_of_the_specification_are_accepted() {
        let secret = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, is_valid) in [
            (secret(24), true),
            (secret(64), true),
            (secret(23), false),
            (secret(65), false),
            (secret(32).replace("whsec_", ""), false),
            (format!("{} ", secret(32)), false),
            ("whsec_".to_owned(), false),
            ("whsec_%".to_owned(), false),
        ] {
            assert_eq!(Secret::parse(&text).is_some(), is_valid, "{text}");
        }
    }
}
