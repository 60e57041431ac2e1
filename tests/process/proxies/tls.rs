//! The openssl commands of `docs/security.md`.

use std::process::Command;

use super::{
    documents::{of_security, replaced},
    server::{Server, bucket},
};

#[tokio::test]
#[ignore = "needs openssl: .ci/run proxies"]
async fn documented_certificates_work() {
    let (folder, s3) = (tempfile::tempdir().unwrap(), bucket().await);
    let blocks = of_security("### Certificates from openssl", "sh");
    let run = |script: &str| {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(folder.path())
            .env_remove("TARA_EXPORT_SERVER")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&blocks[0]);
    // The commands of the second block: a server, and a client.
    let (serve, list) = blocks[1].trim().split_once('\n').unwrap();
    let settings = serve.strip_suffix(" tara-export serve").expect("the server's command");
    let file = |name: &str| folder.path().join(name).display().to_string();
    let settings: Vec<(&str, String)> = settings
        .split(' ')
        .map(|setting| setting.split_once('=').map(|(name, value)| (name, file(value))).unwrap())
        .collect();
    let settings: Vec<(&str, &str)> =
        settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start(&s3, folder.path(), &settings);
    let (_, port) = server.address.rsplit_once(':').unwrap();
    let list = replaced(list, "8080", port);
    let list =
        replaced(&list, "tara-export list", &format!("{} list", env!("CARGO_BIN_EXE_tara-export")));
    run(&list);
    // Other TLS libraries accept the certificate too, with strict checks.
    let verified = run(&format!(
        "openssl s_client -connect localhost:{port} -CAfile ca.pem -verify_hostname localhost \
         -x509_strict -verify_return_error </dev/null"
    ));
    assert!(verified.contains("Verify return code: 0 (ok)"), "{verified}");
}
