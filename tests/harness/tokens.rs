//! Static tokens, and clients that send them.

use std::path::Path;

use tara_export_client::{Client, ConnectOptions, Token};
use tara_export_digest::Sha256;

use super::authorities::file;

/// Writes a token file and returns the server flag that reads it. The text of a token is its name plus
/// `-token`.
pub(crate) fn flag(folder: &Path, tokens: &[(&str, &[&str])]) -> String {
    let tokens: Vec<serde_json::Value> = tokens
        .iter()
        .map(|(name, roles)| {
            let sha256 = Sha256::of(text(name).as_bytes()).to_string();
            serde_json::json!({"name": name, "roles": roles, "sha256": sha256})
        })
        .collect();
    let path = file(folder, "tokens.json", &serde_json::json!({ "tokens": tokens }).to_string());
    format!("--auth-tokens-file={}", path.display())
}

pub(crate) fn text(name: &str) -> String {
    format!("{name}-token")
}

/// A client that sends this token.
pub(crate) async fn client(address: std::net::SocketAddr, token: &str) -> Client {
    let options = ConnectOptions { token: Token::new(token), ..ConnectOptions::default() };
    Client::connect_with(&format!("http://{address}"), options).await.unwrap()
}
