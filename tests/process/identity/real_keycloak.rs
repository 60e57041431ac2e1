//! The recipe for Keycloak with a real Keycloak server, whose realm is `keycloak-realm.json`.

use std::process::Command;

use serde_json::Value;

use super::{assert_accepted, is_refused, recipe::Settings, refusal};
use crate::machine::Server;

/// The response of the token endpoint.
fn tokens(issuer: &str, form: &[&str]) -> Value {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", &format!("{issuer}/protocol/openid-connect/token")]);
    for field in form {
        command.args(["-d", field]);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Keycloak server: .ci/real-keycloak"]
async fn recipe_works_with_a_real_keycloak() {
    let url = std::env::var("TARA_TEST_KEYCLOAK_URL").expect(".ci/real-keycloak sets it");
    let issuer = format!("{url}/realms/tara");
    let recipe = Settings::of("Keycloak").with("JWT_ISSUER", &issuer);
    let application = |name: &str| {
        let form =
            ["grant_type=client_credentials", "client_secret=secret", &format!("client_id={name}")];
        tokens(&issuer, &form)["access_token"].as_str().unwrap().to_owned()
    };
    let user = tokens(
        &issuer,
        &[
            "grant_type=password",
            "client_id=review-app",
            "client_secret=secret",
            "username=ada",
            "password=password",
            "scope=openid",
        ],
    );
    let user = |kind: &str| user[kind].as_str().unwrap().to_owned();
    let variants = [
        recipe.clone(),
        recipe.changed_by("Keycloak with realm roles"),
        recipe.changed_by("Keycloak with a client id that is a URL"),
    ];
    for (number, settings) in variants.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::start(&folder, &settings.variables(), &[]);
        server.url();
        assert_accepted(&server, &application("review-app")).await;
        assert!(is_refused(&server, &application("other-app")).await);
        if number > 0 {
            continue;
        }
        assert_accepted(&server, &user("access_token")).await;
        let (message, detail) = refusal(&server, &application("other-app")).await;
        assert_eq!(message, "the token is for another audience (aud)");
        assert_eq!(detail, r#"aud is "account", and JWT_AUDIENCE requires ["tara-export"]"#);
        for kind in ["id_token", "refresh_token"] {
            assert!(is_refused(&server, &user(kind)).await, "{kind}");
        }
    }
}
