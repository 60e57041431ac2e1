//! The recipes of the providers that publish metadata. The claims are those that each provider issues.

use serde_json::{Value, json};

use super::{
    Internet, assert_accepted, is_refused, page,
    recipe::{Settings, refusals},
    refusal, rsa, timed, with,
};
use crate::{harness::issuer::now, machine::Server};

/// Checks that these tokens are refused with exactly the messages in the provider's table, in its order.
async fn assert_refused(server: &Server, provider: &str, tokens: &[String]) {
    let mut found = Vec::new();
    for token in tokens {
        found.push(refusal(server, token).await);
    }
    assert_eq!(found, refusals(provider));
}

const KEYCLOAK: &str = "https://id.example.com/realms/tara";
const KEYCLOAK_KEYS: &str = "https://id.example.com/realms/tara/protocol/openid-connect/certs";

/// A service account's access token.
fn keycloak() -> Value {
    timed(json!({
        "jti": "trrtcc:5a1c9f0e-7a55-4d43-a8a4-0a8f1f6f7d11", "iss": KEYCLOAK, "aud": ["tara-export", "account"],
        "sub": "7c1a0d7e-2f7c-4f0e-9d5a-2f2d8a1e5b11", "typ": "Bearer", "azp": "review-app", "acr": "1",
        "allowed-origins": ["https://review.example.com"],
        "realm_access": {"roles": ["default-roles-tara", "offline_access", "uma_authorization"]},
        "resource_access": {
            "tara-export": {"roles": ["export", "read"]},
            "account": {"roles": ["manage-account", "view-profile"]},
        },
        "scope": "profile email", "clientHost": "10.0.0.7", "email_verified": false,
        "preferred_username": "service-account-review-app", "clientAddress": "10.0.0.7", "client_id": "review-app",
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_grants_client_roles() {
    let internet = Internet::new().await;
    let key = rsa("h0sB4gUeYq8C1p5lYcQ2d6mUo2m0k3Jm8F1o9w7nqzE");
    // Keycloak publishes an encryption key in the same set.
    let encryption = rsa("enc");
    internet.publish(KEYCLOAK, KEYCLOAK_KEYS, &[&key]);
    let mut keys: Vec<Value> = vec![encryption.jwk(), key.jwk()];
    keys[0]["use"] = json!("enc");
    keys[0]["alg"] = json!("RSA-OAEP");
    internet.pages.set(&page(KEYCLOAK_KEYS), json!({ "keys": keys }).to_string());
    let server = internet.serve(&Settings::of("Keycloak"));
    assert_accepted(&server, &key.token_of(&keycloak())).await;
    let token = |changes: Value| key.token_of(&with(keycloak(), changes));
    let without_roles = json!({"account": {"roles": ["manage-account"]}});
    let tokens = [
        token(json!({"aud": "account", "resource_access": without_roles})),
        // An ID token of the same client.
        token(json!({"aud": "tara-export", "typ": "ID", "nonce": "n-0S6", "at_hash": "MTIzNDU2"})),
        token(json!({"iss": "http://keycloak:8080/realms/tara"})),
        token(json!({"resource_access": without_roles})),
    ];
    assert_refused(&server, "Keycloak", &tokens).await;
    // Roles of other clients and of the realm, in other forms, and below lists.
    for changes in [
        json!({"resource_access": {"other": {"roles": ["read"]}}}),
        json!({"resource_access": {}, "realm_access": {"roles": ["read", "admin"]}}),
        json!({"resource_access": {"tara-export": {"roles": {"read": true}}}}),
        json!({"resource_access": {"tara-export": [{"roles": ["read"]}]}}),
        json!({"resource_access": [{"tara-export": {"roles": ["read"]}}]}),
        json!({"resource_access": {"tara-export": ["read"]}}),
        json!({"resource_access": {}, "resource_access/tara-export/roles": ["read"]}),
        json!({"resource_access": {}, "/resource_access/tara-export/roles": ["read"]}),
        json!({"resource_access": {}, "resource_access.tara-export.roles": ["read"]}),
    ] {
        let (message, _) = refusal(&server, &token(changes.clone())).await;
        assert!(message.ends_with("requires the role read"), "{changes}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keycloak_grants_realm_roles_and_roles_of_a_client_with_slashes() {
    let internet = Internet::new().await;
    let key = rsa("k");
    internet.publish(KEYCLOAK, KEYCLOAK_KEYS, &[&key]);
    let recipe = Settings::of("Keycloak");
    let realm = internet.serve(&recipe.changed_by("Keycloak with realm roles"));
    let roles =
        |roles: Value| key.token_of(&with(keycloak(), json!({"realm_access": {"roles": roles}})));
    assert_accepted(&realm, &roles(json!(["offline_access", "tara-export-read"]))).await;
    for other in [json!(["read"]), json!(["tara-export-"]), json!([["tara-export-read"]])] {
        assert!(is_refused(&realm, &roles(other.clone())).await, "{other}");
    }
    let url = internet.serve(&recipe.changed_by("Keycloak with a client id that is a URL"));
    let claims = |id: &str| {
        let changes = json!({
            "aud": "https://export.example.com/api",
            "resource_access": {id: {"roles": ["read"]}},
        });
        key.token_of(&with(keycloak(), changes))
    };
    assert_accepted(&url, &claims("https://export.example.com/api")).await;
    assert!(is_refused(&url, &claims("https://export.example.com")).await);
}

const COGNITO: &str = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";

/// An access token of the client credentials grant.
fn cognito() -> Value {
    timed(json!({
        "sub": "6abcdefghijklmnopqrstuvwxy", "token_use": "access", "scope": "tara-export/export tara-export/read",
        "auth_time": now(), "iss": COGNITO, "version": 2, "jti": "6f0c2f1e-0f0e-4d3b-9c53-7d1e6f5a4b3c",
        "client_id": "6abcdefghijklmnopqrstuvwxy",
    }))
}

/// A user's ID token for the same app client.
fn cognito_id_token() -> Value {
    timed(json!({
        "at_hash": "0hQz3YJ1g", "sub": "b3a4c812-70d1-70f5-9e9e-0f0a1b2c3d4e", "email_verified": true,
        "cognito:groups": ["tara-auditors", "tara-reviewers"], "iss": COGNITO, "cognito:username": "ada",
        "origin_jti": "1", "aud": "6abcdefghijklmnopqrstuvwxy", "event_id": "2", "token_use": "id",
        "auth_time": now(), "jti": "3", "email": "ada@example.com",
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn cognito_access_tokens_are_accepted_for_the_listed_clients() {
    let internet = Internet::new().await;
    let (first, second) = (rsa("Xb3C="), rsa("zz9P="));
    internet.publish(COGNITO, &format!("{COGNITO}/.well-known/jwks.json"), &[&first, &second]);
    let recipe = Settings::of("Amazon Cognito");
    let server = internet.serve(&recipe);
    let token = |changes: Value| second.token_of(&with(cognito(), changes));
    assert_accepted(&server, &token(json!({}))).await;
    assert_accepted(&server, &token(json!({"client_id": "7zyxwvutsrqponmlkjihgfedcb"}))).await;
    // With resource binding, tokens have an audience, too.
    assert_accepted(&server, &token(json!({"aud": "7zyxwvutsrqponmlkjihgfedcb"}))).await;
    let tokens = [
        second.token_of(&cognito_id_token()),
        token(json!({"client_id": "5otherclientofthesamepool0"})),
        token(json!({"scope": "aws.cognito.signin.user.admin", "username": "ada"})),
    ];
    assert_refused(&server, "Amazon Cognito", &tokens).await;
    for (changes, part) in [
        // An ID token is no access token, even with the claims of one.
        (json!({"token_use": "id"}), "token_use"),
        (json!({"token_use": ["access", "id"]}), "token_use"),
        (json!({"token_use": null}), "token_use"),
        (json!({"client_id": null, "aud": "6abcdefghijklmnopqrstuvwxy"}), "client_id"),
        (json!({"aud": "https://other.example.com"}), "another audience (aud)"),
        (
            json!({"client_id": "6abcdefghijklmnopqrstuvwxy,7zyxwvutsrqponmlkjihgfedcb"}),
            "client_id",
        ),
        (json!({"iss": format!("{COGNITO}x")}), "another issuer"),
        (json!({"scope": "other/read tara-export/readx"}), "role read"),
    ] {
        let (message, _) = refusal(&server, &token(changes.clone())).await;
        assert!(message.contains(part), "{changes}: {message}");
    }
    let groups = recipe.changed_by("Amazon Cognito with groups").without("JWT_ROLE_PREFIX");
    let server = internet.serve(&groups);
    let user = |groups: Value| {
        let changes = json!({"username": "ada", "cognito:groups": groups, "scope": "openid"});
        second.token_of(&with(cognito(), changes))
    };
    assert_accepted(&server, &user(json!(["other", "tara-auditors"]))).await;
    for other in [json!(["admin", "read"]), json!([]), json!({"tara-auditors": 1}), Value::Null] {
        assert!(is_refused(&server, &user(other.clone())).await, "{other}");
    }
    assert!(is_refused(&server, &second.token_of(&cognito_id_token())).await);
}

const TENANT: &str = "8c6a5b1e-0d2f-4e4a-9b57-1f2a3c4d5e6f";
const API: &str = "2f1d4c7a-55aa-4f10-8a3e-7b6c5d4e3f21";
const CALLER: &str = "9d8c7b6a-1111-4222-8333-444455556666";

fn entra_issuer(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

/// An application's access token of version 2.
fn entra() -> Value {
    timed(json!({
        "aud": API, "iss": entra_issuer(TENANT), "nbf": now(), "aio": "k2RgYFjQ", "azp": CALLER, "azpacr": "1",
        "oid": "0b7e1c2d-9999-4aaa-8bbb-ccccddddeeee", "rh": "1.AXoAHlpq", "roles": ["export", "read"],
        "sub": "0b7e1c2d-9999-4aaa-8bbb-ccccddddeeee", "tid": TENANT, "uti": "x9Yk", "ver": "2.0",
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_tokens_of_version_2_are_accepted_for_one_tenant_and_listed_applications() {
    let internet = Internet::new().await;
    let key = rsa("9GmnyFPkhc3hOuR22mvSvgnLo7Y");
    let keys_url = format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys");
    internet.publish(&entra_issuer(TENANT), &keys_url, &[&key]);
    let recipe = Settings::of("Microsoft Entra");
    let server = internet.serve(&recipe);
    let token = |changes: Value| key.token_of(&with(entra(), changes));
    assert_accepted(&server, &token(json!({}))).await;
    let version_1 = json!({
        "iss": format!("https://sts.windows.net/{TENANT}/"), "aud": format!("api://{API}"), "ver": "1.0",
        "azp": null, "appid": CALLER,
    });
    // An ID token for the API's own registration has its audience and roles.
    let id_token = json!({
        "azp": null, "azpacr": null, "nonce": "6788", "name": "Ada", "preferred_username": "ada@example.com",
    });
    let tokens = [
        token(version_1),
        token(json!({"aud": "00000003-0000-0000-c000-000000000000"})),
        token(id_token),
        token(json!({"roles": null})),
    ];
    assert_refused(&server, "Microsoft Entra", &tokens).await;
    // The same keys sign tokens of all tenants.
    let other = "ffffffff-0d2f-4e4a-9b57-1f2a3c4d5e6f";
    for changes in [
        json!({"iss": entra_issuer(other), "tid": other}),
        json!({"iss": entra_issuer("common")}),
        json!({"iss": entra_issuer("{tenantid}")}),
        json!({"iss": format!("{}/", entra_issuer(TENANT))}),
        json!({"iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0/../x")}),
        json!({"iss": format!("https://login.microsoftonline.com/{TENANT}")}),
        json!({"azp": "00001111-2222-4333-8444-555566667777"}),
    ] {
        assert!(is_refused(&server, &token(changes.clone())).await, "{changes}");
    }
    let scopes = internet.serve(&recipe.changed_by("Microsoft Entra with delegated scopes"));
    let user = |scp: Value| token(json!({"roles": null, "scp": scp, "name": "Ada"}));
    assert_accepted(&scopes, &user(json!("profile tara.read"))).await;
    assert!(is_refused(&scopes, &user(json!("profile tara.export"))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn entra_tokens_of_version_1_are_accepted_with_their_own_settings() {
    let internet = Internet::new().await;
    let key = rsa("9GmnyFPkhc3hOuR22mvSvgnLo7Y");
    let recipe =
        Settings::of("Microsoft Entra").changed_by("Microsoft Entra with version 1 tokens");
    internet.publish_keys(recipe.get("JWT_JWKS_URL"), &[&key]);
    let server = internet.serve(&recipe);
    let issuer = format!("https://sts.windows.net/{TENANT}/");
    let claims = with(
        entra(),
        json!({
            "aud": format!("api://{API}"), "iss": issuer, "appid": CALLER, "appidacr": "1", "idp": issuer,
            "azp": null, "azpacr": null, "ver": "1.0",
        }),
    );
    let header = r#"{"typ":"JWT","alg":"RS256","x5t":"9GmnyFPkhc3hOuR22mvSvgnLo7Y","kid":"9GmnyFPkhc3hOuR22mvSvgnLo7Y"}"#;
    assert_accepted(&server, &key.raw_token(header, &claims.to_string())).await;
    for changes in
        [json!({"aud": API}), json!({"appid": null}), json!({"iss": entra_issuer(TENANT)})]
    {
        let token = key.token_of(&with(claims.clone(), changes.clone()));
        assert!(is_refused(&server, &token).await, "{changes}");
    }
}

const AUTH0: &str = "https://example.eu.auth0.com/";

/// A user's access token, with the user information endpoint as a second audience.
fn auth0() -> Value {
    timed(json!({
        "iss": AUTH0, "sub": "auth0|650a1b2c3d4e5f60718293a4",
        "aud": ["https://export.example.com", "https://example.eu.auth0.com/userinfo"],
        "scope": "openid profile email", "azp": "hN3kZyWvUtSrQpOnMlKjIhGfEdCbA987",
        "permissions": ["export", "read"], "https://example.com/roles": ["Document Auditor"],
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn auth0_grants_permissions_or_a_namespaced_claim() {
    let internet = Internet::new().await;
    let key = rsa("aBcDeFgHiJkLmNoPqRsTu");
    internet.publish(AUTH0, &format!("{AUTH0}.well-known/jwks.json"), &[&key]);
    let recipe = Settings::of("Auth0");
    let server = internet.serve(&recipe);
    let token = |changes: Value| key.token_of(&with(auth0(), changes));
    assert_accepted(&server, &token(json!({}))).await;
    let machine = json!({
        "sub": "hN3kZyWvUtSrQpOnMlKjIhGfEdCbA987@clients", "aud": "https://export.example.com",
        "gty": "client-credentials", "scope": "export read",
    });
    assert_accepted(&server, &token(machine)).await;
    // With the profile of RFC 9068.
    let header = r#"{"alg":"RS256","typ":"at+jwt","kid":"aBcDeFgHiJkLmNoPqRsTu"}"#;
    assert_accepted(&server, &key.raw_token(header, &auth0().to_string())).await;
    let encrypted = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..MlKjIhGfEdCbA987.hN3kZyWvUtSr.QpOn";
    let id_token = json!({"aud": "hN3kZyWvUtSrQpOnMlKjIhGfEdCbA987", "nonce": "n", "azp": null});
    let tokens = [encrypted.to_owned(), token(id_token), token(json!({"permissions": []}))];
    assert_refused(&server, "Auth0", &tokens).await;
    let without_slash = AUTH0.trim_end_matches('/');
    for changes in [json!({"iss": without_slash}), json!({"aud": "https://export.example.com/"})] {
        assert!(is_refused(&server, &token(changes.clone())).await, "{changes}");
    }
    let namespaced = internet.serve(&recipe.changed_by("Auth0 with a namespaced claim"));
    assert_accepted(&namespaced, &token(json!({}))).await;
    for other in [json!(["document auditor"]), json!("Document Auditor"), json!(["read", "admin"])]
    {
        let token = token(json!({"https://example.com/roles": other}));
        assert!(is_refused(&namespaced, &token).await, "{other}");
    }
}

const OKTA: &str = "https://example.okta.com/oauth2/aus1a2b3c4d5e6f7g8h9";

/// A user's access token of a custom authorization server.
fn okta() -> Value {
    timed(json!({
        "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE", "iss": OKTA, "aud": "api://tara-export",
        "cid": "0oa1b2c3d4e5f6g7h8i9", "uid": "00u1b2c3d4e5f6g7h8i9", "auth_time": now(),
        "scp": ["openid", "tara-export.read"], "sub": "ada@example.com", "groups": ["Everyone", "Tara Auditors"],
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn okta_grants_scopes_in_a_list_or_groups() {
    let internet = Internet::new().await;
    let key = rsa("m9r5Ts1");
    internet.publish(OKTA, &format!("{OKTA}/v1/keys"), &[&key]);
    let recipe = Settings::of("Okta");
    let server = internet.serve(&recipe);
    let token = |changes: Value| key.token_of(&with(okta(), changes));
    assert_accepted(&server, &token(json!({}))).await;
    assert_accepted(&server, &token(json!({"uid": null, "sub": "0oa1b2c3d4e5f6g7h8i9"}))).await;
    let id_token =
        json!({"aud": "0oa1b2c3d4e5f6g7h8i9", "idp": "00o1", "amr": ["pwd"], "scp": null});
    let tokens = [
        token(json!({"iss": "https://example.okta.com/oauth2/default"})),
        token(id_token),
        token(json!({"scp": ["openid", "profile"]})),
    ];
    assert_refused(&server, "Okta", &tokens).await;
    let (message, _) = refusal(&server, &rsa("m9r5Ts2").token_of(&okta())).await;
    assert_eq!(message, "the token is signed with a key that does not belong to its issuer");
    // An element of a list is one scope.
    assert!(is_refused(&server, &token(json!({"scp": ["openid tara-export.read"]}))).await);
    let groups = recipe.changed_by("Okta with groups").without("JWT_ROLE_PREFIX");
    let groups = internet.serve(&groups);
    assert_accepted(&groups, &token(json!({}))).await;
    // A group's name has spaces: one string would be several values.
    for other in [json!("Tara Auditors"), json!(["tara auditors"]), json!(["read", "admin"])] {
        assert!(is_refused(&groups, &token(json!({"groups": other}))).await, "{other}");
    }
    let with_client = recipe.with("JWT_REQUIRED_CLAIMS", r#"{"cid": ["0oa1b2c3d4e5f6g7h8i9"]}"#);
    let with_client = internet.serve(&with_client.with("JWT_NAME_CLAIM", "uid"));
    assert_accepted(&with_client, &token(json!({}))).await;
    assert!(is_refused(&with_client, &token(json!({"cid": "0oa9"}))).await);
}

/// A service account's ID token.
fn google() -> Value {
    timed(json!({
        "aud": "https://export.example.com", "azp": "117282918282828282828",
        "email": "review-app@example-project.iam.gserviceaccount.com", "email_verified": true,
        "iss": "https://accounts.google.com", "sub": "117282918282828282828",
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn google_service_accounts_are_accepted_by_their_address() {
    let internet = Internet::new().await;
    let key = rsa("89ce3598c473af1bda4bff95e6c8736450206fba");
    let keys_url = "https://www.googleapis.com/oauth2/v3/certs";
    internet.publish("https://accounts.google.com", keys_url, &[&key]);
    let server = internet.serve(&Settings::of("Google"));
    let token = |changes: Value| key.token_of(&with(google(), changes));
    for issuer in ["https://accounts.google.com", "accounts.google.com"] {
        assert_accepted(&server, &token(json!({"iss": issuer}))).await;
    }
    let eve = json!({"email": "eve@example.com", "sub": "2"});
    let tokens = [
        "ya29.c0AfAkEaCcEsStOkEnOfGoOgLe".to_owned(),
        token(json!({"aud": "32555940559.apps.googleusercontent.com"})),
        token(json!({"email": null, "email_verified": null})),
        token(json!({"email_verified": false})),
        token(eve),
    ];
    assert_refused(&server, "Google", &tokens).await;
    for changes in [
        // The address of another one in other forms.
        json!({"email": "eve@example.com review-app@example-project.iam.gserviceaccount.com"}),
        json!({"email": ["eve@example.com", "review-app@example-project.iam.gserviceaccount.com"]}),
        json!({"email": "Review-App@example-project.iam.gserviceaccount.com"}),
        json!({"email_verified": "true"}),
        json!({"email_verified": null}),
        json!({"iss": "http://accounts.google.com"}),
        json!({"iss": "accounts.google.com.example.com"}),
        json!({"iss": "https://accounts.google.com,accounts.google.com"}),
    ] {
        assert!(is_refused(&server, &token(changes.clone())).await, "{changes}");
    }
}
