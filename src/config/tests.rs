#![allow(clippy::unwrap_used)]

use std::time::Duration;

use clap::Parser;
use tara_export_store::s3::{RequestPrices, ServerSideEncryption};

use super::*;

#[derive(Debug, Parser)]
struct AllSettings {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    listen: ListenSettings,
    #[command(flatten)]
    log: LogSettings,
    #[command(flatten)]
    telemetry: TelemetrySettings,
}

fn parse(arguments: &[&str]) -> Result<AllSettings, clap::Error> {
    AllSettings::try_parse_from([&["tara-export"], arguments].concat())
}

#[test]
fn invalid_value_error_names_variable_value_and_rule() {
    for (flag, invalid, variable, rule) in [
        ("--port", "65536", "PORT", "from 0 to 65535"),
        ("--port", "http", "PORT", "from 0 to 65535"),
        ("--s3-bucket-name", "s3://b", "S3_BUCKET_NAME", "without s3://"),
        ("--s3-base-path", "a/../b", "S3_BASE_PATH", "without empty parts"),
        ("--aws-region", "US East", "AWS_REGION", "us-east-1"),
        ("--aws-endpoint-url", "127.0.0.1:9000", "AWS_ENDPOINT_URL", "http://"),
        ("--s3-path-style", "maybe", "S3_PATH_STYLE", "true or false"),
        ("--s3-server-side-encryption", "kms", "S3_SERVER_SIDE_ENCRYPTION", "aws:kms"),
        ("--s3-connect-timeout", "5", "S3_CONNECT_TIMEOUT", "with a unit"),
        ("--s3-retry-budget", "11m", "S3_RETRY_BUDGET", "from 100ms to 10m"),
        ("--heartbeat-interval", "16s", "HEARTBEAT_INTERVAL", "to 15s"),
        ("--max-request-size", "1kB", "MAX_REQUEST_SIZE", "from 64.0 KiB to 1.0 GiB"),
        ("--catalog-cache-size", "1TiB", "CATALOG_CACHE_SIZE", "from 0 B to 64.0 GiB"),
        ("--s3-parallel-puts", "0", "S3_PARALLEL_PUTS", "from 1 to 256"),
        ("--bind-address", "localhost", "BIND_ADDRESS", "IP address"),
        ("--cors-allowed-origins", "example.com", "CORS_ALLOWED_ORIGINS", "origins"),
        ("--unix-socket", "/run/tara-export/", "UNIX_SOCKET", "at most 100 bytes"),
        ("--unix-socket", "@abstract", "UNIX_SOCKET", "path of a socket"),
        ("--unix-socket-mode", "0x180", "UNIX_SOCKET_MODE", "such as 600"),
        ("--unix-socket-mode", "1777", "UNIX_SOCKET_MODE", "such as 600"),
        ("--unix-socket-mode", "68", "UNIX_SOCKET_MODE", "such as 600"),
        ("--cors-allowed-headers", "x tenant", "CORS_ALLOWED_HEADERS", "x-tenant"),
        ("--trusted-proxies", "proxy.internal", "TRUSTED_PROXIES", "10.0.0.0/8"),
        ("--trusted-proxies", "10.0.0.0/33", "TRUSTED_PROXIES", "10.0.0.0/8"),
        ("--trusted-proxies", "0.0.0.0/0", "TRUSTED_PROXIES", "more than 0 bits"),
        ("--log-format", "xml", "LOG_FORMAT", "auto, human or json"),
        ("--metrics-listen-addr", "9464", "METRICS_LISTEN_ADDR", "127.0.0.1:9464"),
        ("--metrics-emf-namespace", "AWS/S3", "METRICS_EMF_NAMESPACE", "TaraExport"),
        ("--trace-otlp-endpoint", "localhost:4317", "TRACE_OTLP_ENDPOINT", "http://"),
        ("--trace-sample-ratio", "1.5", "TRACE_SAMPLE_RATIO", "from 0 to 1"),
        ("--s3-prices", "put=0.005,get=x,delete=0", "S3_PRICES", "put=0.005"),
        ("--s3-prices", "put=0.005", "S3_PRICES", "put=0.005"),
        ("--log-level", "a=b=c", "LOG_LEVEL", "log filter"),
        ("--log-level", "warning", "LOG_LEVEL", "\"warning\" is no level"),
        ("--log-level", "info,verbose", "LOG_LEVEL", "\"verbose\" is no level"),
        ("--log-level", "info;debug", "LOG_LEVEL", "error, warn, info, debug, trace or off"),
        ("--log-level", "info,aws_sdk_s3", "LOG_LEVEL", "\"aws_sdk_s3\" is no level"),
        ("--log-level", "info,aws_sdk_s3=warning", "LOG_LEVEL", "log filter"),
        ("--data-dir", "", "DATA_DIR", "folder"),
        ("--s3-sources", "bucket/prefix", "S3_SOURCES", "s3://"),
        ("--s3-sources", "s3://b/../x", "S3_SOURCES", "s3://"),
        ("--max-document-size", "65GiB", "MAX_DOCUMENT_SIZE", "from 1.0 MiB to 64.0 GiB"),
        ("--transfer-memory", "1MiB", "TRANSFER_MEMORY", "from 8.0 MiB"),
        ("--upload-retention", "1s", "UPLOAD_RETENTION", "from 1m"),
        ("--failure-retention", "59m", "FAILURE_RETENTION", "from 1h"),
        ("--max-failure-records", "0", "MAX_FAILURE_RECORDS", "from 1 to 1000000"),
        ("--max-receipts", "10000001", "MAX_RECEIPTS", "from 0 to 10000000"),
        ("--retention-interval", "99ms", "RETENTION_INTERVAL", "from 100ms to 1day"),
        ("--stall-threshold", "500ms", "STALL_THRESHOLD", "from 1s to 1h"),
        ("--max-stream-time", "500ms", "MAX_STREAM_TIME", "0s for no limit"),
        ("--max-stream-time", "25h", "MAX_STREAM_TIME", "1s to 1d"),
        ("--s3-expected-bucket-owner", "acme", "S3_EXPECTED_BUCKET_OWNER", "twelve digits"),
        ("--s3-object-lock-mode", "legal", "S3_OBJECT_LOCK_MODE", "governance or compliance"),
        ("--s3-object-lock-days", "36501", "S3_OBJECT_LOCK_DAYS", "to 36500"),
        ("--jwt-jwks-url", "ftp://x/jwks", "JWT_JWKS_URL", "https://"),
        ("--jwt-jwks-url", "http://keys.example.com/jwks", "JWT_JWKS_URL", "https://"),
        ("--jwt-leeway", "10m", "JWT_LEEWAY", "to 5m"),
        ("--jwt-issuer", "https://login.microsoftonline.com/common/v2.0", "JWT_ISSUER", "its id"),
        ("--jwt-issuer", "https://login.microsoftonline.us/Organizations/", "JWT_ISSUER", "its id"),
        (
            "--jwt-issuer",
            "https://login.microsoftonline.com/{tenantid}/v2.0",
            "JWT_ISSUER",
            "its id",
        ),
        ("--jwt-issuer", "https://sts.windows.net/common/", "JWT_ISSUER", "its id"),
        ("--jwt-roles-claim", "/realm_access/", "JWT_ROLES_CLAIM", "/realm_access/roles"),
        ("--jwt-roles-claim", "", "JWT_ROLES_CLAIM", "the name of a claim"),
        ("--jwt-audience-claim", "/a~2", "JWT_AUDIENCE_CLAIM", "~1 is a slash"),
        ("--jwt-name-claim", "/", "JWT_NAME_CLAIM", "without empty parts"),
        ("--jwt-role-map", "auditors=read", "JWT_ROLE_MAP", "a JSON object"),
        ("--jwt-role-map", r#"{"a": "owner"}"#, "JWT_ROLE_MAP", "export, read and admin"),
        ("--jwt-required-claims", r#"{"a": 1}"#, "JWT_REQUIRED_CLAIMS", "true or false"),
        ("--allow-insecure", "maybe", "ALLOW_INSECURE", "true or false"),
        ("--allowed-hosts", "https://export.example.com", "ALLOWED_HOSTS", ".example.com"),
        ("--allowed-hosts", "*.example.com", "ALLOWED_HOSTS", "and its subdomains"),
        ("--allowed-hosts", "b\u{fc}cher.example", "ALLOWED_HOSTS", "xn--"),
        ("--allowed-hosts", "export.example.com:0x50", "ALLOWED_HOSTS", "port"),
    ] {
        let message = parse(&[flag, invalid]).unwrap_err().to_string();
        for part in [variable, invalid, rule] {
            assert!(message.contains(part), "{flag} {invalid}: {message}");
        }
    }
}

#[test]
fn contradictory_settings_are_rejected() {
    let settings = parse(&["--max-request-memory", "1MiB"]).unwrap().settings;
    assert!(settings.check().unwrap_err().contains("MAX_REQUEST_SIZE"));
    let settings = parse(&["--s3-kms-key-id", "x"]).unwrap().settings;
    assert!(settings.check().unwrap_err().contains("S3_SERVER_SIDE_ENCRYPTION"));
    let settings = parse(&["--s3-object-lock-mode", "compliance"]).unwrap().settings;
    assert!(settings.check().unwrap_err().contains("S3_OBJECT_LOCK_DAYS"));
    let settings = parse(&["--max-read-memory", "64MiB"]).unwrap().settings;
    assert!(settings.check().unwrap_err().contains("MAX_CONCURRENT_DOWNLOADS"));
}

#[test]
fn ephemeral_disk_warning_depends_on_bucket_and_journal() {
    let warning = |flags: &[&str]| parse(flags).unwrap().settings.disk_warning();
    let bucket = "--s3-bucket-name=audit-bundles";
    assert_eq!(warning(&[]), None);
    assert_eq!(warning(&[bucket, "--journal=store"]), None);
    assert!(warning(&["--ephemeral-disk"]).unwrap().contains("every bundle is lost"));
    assert!(warning(&["--ephemeral-disk", bucket]).unwrap().contains("JOURNAL=store keeps"));
    let stored = warning(&["--ephemeral-disk", bucket, "--journal=store"]).unwrap();
    assert!(stored.contains("while S3 is unreachable"), "{stored}");
}

#[test]
fn zero_stream_time_means_no_limit() {
    let limit = |flags: &[&str]| parse(flags).unwrap().listen.max_stream_time.limit();
    assert_eq!(limit(&[]), None);
    assert_eq!(limit(&["--max-stream-time", "0s"]), None);
    assert_eq!(limit(&["--max-stream-time", "110s"]), Some(Duration::from_secs(110)));
}

#[test]
fn prices_are_accepted_in_any_order() {
    let prices = |text| parse(&["--s3-prices", text]).unwrap().settings.store.s3_prices;
    let expected = RequestPrices { put: 0.01, get: 0.0, delete: 0.002 };
    assert_eq!(prices("put=0.01,get=0,delete=0.002"), expected);
    assert_eq!(prices("delete=0.002, put=0.01, get=0"), expected);
    let standard = RequestPrices { put: 0.005, get: 0.0004, delete: 0.0 };
    assert_eq!(parse(&[]).unwrap().settings.store.s3_prices, standard);
}

#[test]
fn trusted_proxies_accept_addresses_and_networks() {
    let parsed = |text| {
        let listen = parse(&["--trusted-proxies", text]).unwrap().listen;
        values(&listen.trusted_proxies).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        parsed("10.0.0.0/8, 192.0.2.7,fd00::/8"),
        ["10.0.0.0/8", "192.0.2.7/32", "fd00::/8"]
    );
    assert_eq!(parsed("::ffff:10.0.0.0/104,::ffff:192.0.2.7"), ["10.0.0.0/8", "192.0.2.7/32"]);
    assert_eq!(parsed("unix"), ["unix"]);
    assert!(parse(&[]).unwrap().listen.trusted_proxies.is_empty());
}

#[test]
fn unix_socket_has_a_path_and_no_tls() {
    let listen = |flags: &[&str]| parse(flags).unwrap().listen;
    for path in ["/run/a.sock", "unix:/run/a.sock", "unix:///run/a.sock"] {
        let path = listen(&["--unix-socket", path]).unix_socket;
        assert_eq!(value(&path), Some("/run/a.sock".into()));
    }
    let long = format!("/{}", "x".repeat(100));
    assert!(parse(&["--unix-socket", &long]).is_err());
    assert!(parse(&["--unix-socket", &long[..100]]).is_ok());
    let mode = |text| listen(&["--unix-socket-mode", text]).unix_socket_mode;
    assert_eq!((mode("660"), mode("0666"), listen(&[]).unix_socket_mode), (0o660, 0o666, 0o600));
    let tls = ["--unix-socket=/a", "--tls-cert-file=c", "--tls-key-file=k"];
    assert!(listen(&tls).check().unwrap_err().contains("UNIX_SOCKET"));
    // The bind address is not used.
    let open = listen(&["--unix-socket=/a", "--bind-address=0.0.0.0"]);
    open.check().unwrap();
    assert_eq!(open.warning(), None);
}

#[test]
fn empty_lists_have_no_values() {
    let flags =
        ["--s3-sources=", "--cors-allowed-origins=", "--trusted-proxies=", "--allowed-hosts="];
    let parsed = parse(&flags).unwrap();
    assert_eq!(values(&parsed.settings.limits.s3_sources), []);
    assert!(values(&parsed.listen.cors_allowed_origins).is_empty());
    assert!(values(&parsed.listen.trusted_proxies).is_empty());
    assert!(values(&parsed.listen.security.allowed_hosts).is_empty());
    let listen = parse(&["--allowed-hosts", "a.example, .b.example,"]).unwrap().listen;
    let expected = ["a.example", ".b.example"].map(|text| text.parse().unwrap());
    assert_eq!(values(&listen.security.allowed_hosts), expected);
}

#[test]
fn base_path_is_normalized_and_empty_bucket_is_none() {
    for (given, normal) in [("tara", "tara/"), ("/a/b/", "a/b/"), ("", ""), ("/", "")] {
        assert_eq!(parse(&["--s3-base-path", given]).unwrap().settings.store.s3_base_path, normal);
    }
    let settings = parse(&["--s3-bucket-name", ""]).unwrap().settings;
    assert_eq!(value(&settings.store.s3_bucket_name), None);
}

#[test]
fn encryption_includes_the_kms_key() {
    let encryption = |flags: &[&str]| parse(flags).unwrap().settings.store.encryption();
    let kms = |key: Option<&str>| ServerSideEncryption::SseKms { key_id: key.map(str::to_owned) };
    assert_eq!(encryption(&[]), ServerSideEncryption::BucketDefault);
    let flag = "--s3-server-side-encryption";
    assert_eq!(encryption(&[flag, "AES256"]), ServerSideEncryption::SseS3);
    assert_eq!(encryption(&[flag, "aws:kms"]), kms(None));
    assert_eq!(encryption(&[flag, "aws:kms", "--s3-kms-key-id", "x"]), kms(Some("x")));
}
