//! Settings of the AWS SDKs and the CLI that this server does not use, each with the reason.

/// A setting that is not used.
struct Unused {
    /// Its variable; empty if it has none.
    variable: &'static str,
    /// Its key in the profile; empty if it has none.
    key: &'static str,
    /// The only value that makes a difference; empty if each does.
    value: &'static str,
    reason: &'static str,
}

const fn unused(variable: &'static str, key: &'static str, reason: &'static str) -> Unused {
    Unused { variable, key, value: "", reason }
}

const fn unused_value(
    variable: &'static str,
    key: &'static str,
    value: &'static str,
    reason: &'static str,
) -> Unused {
    Unused { variable, key, value, reason }
}

const RETRIES: &str = "this server has its own retries (S3_RETRY_BUDGET)";
const TIMEOUTS: &str = "this server has its own timeouts and retries (S3_CONNECT_TIMEOUT, S3_READ_TIMEOUT, S3_RETRY_BUDGET)";
const METADATA: &str = "the AWS SDK has its own timeouts for the metadata service";
const ARNS: &str = "the bucket is a name and no ARN";
const PROXY_TLS: &str = "proxies with https:// URLs are verified with the same authorities as S3, without a client certificate";

const UNUSED: [Unused; 26] = [
    unused("AWS_RETRY_MODE", "retry_mode", RETRIES),
    unused("AWS_MAX_ATTEMPTS", "max_attempts", RETRIES),
    unused("AWS_NEW_RETRIES_2026", "", RETRIES),
    unused("AWS_DEFAULTS_MODE", "defaults_mode", TIMEOUTS),
    unused("AWS_METADATA_SERVICE_TIMEOUT", "metadata_service_timeout", METADATA),
    unused("AWS_METADATA_SERVICE_NUM_ATTEMPTS", "metadata_service_num_attempts", METADATA),
    unused_value(
        "AWS_IMDS_USE_IPV6",
        "imds_use_ipv6",
        "true",
        "set AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE=IPv6 instead",
    ),
    unused(
        "AWS_CREDENTIAL_EXPIRATION",
        "",
        "credentials in variables are used until S3 refuses them",
    ),
    unused_value(
        "AWS_STS_REGIONAL_ENDPOINTS",
        "sts_regional_endpoints",
        "legacy",
        "STS is called in the region; AWS_ENDPOINT_URL_STS selects another endpoint",
    ),
    unused_value(
        "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
        "s3_us_east_1_regional_endpoint",
        "legacy",
        "us-east-1 has its regional endpoint",
    ),
    unused("AWS_S3_USE_ARN_REGION", "s3_use_arn_region", ARNS),
    unused(
        "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
        "s3_disable_multiregion_access_points",
        ARNS,
    ),
    unused_value("AWS_CSM_ENABLED", "csm_enabled", "true", "there is no client-side monitoring"),
    unused("AWS_DATA_PATH", "data_path", "the API of S3 is built in"),
    unused("", "api_versions", "the API of S3 is built in"),
    unused_value("", "parameter_validation", "false", "parameters are always checked"),
    unused_value("", "tcp_keepalive", "true", "connections that are idle are replaced"),
    unused(
        "AWS_DISABLE_HOST_PREFIX_INJECTION",
        "disable_host_prefix_injection",
        "S3 has no host prefixes",
    ),
    unused(
        "AWS_ENDPOINT_DISCOVERY_ENABLED",
        "endpoint_discovery_enabled",
        "S3 has no endpoint discovery",
    ),
    unused("", "proxy_ca_bundle", PROXY_TLS),
    unused("", "proxy_client_cert", PROXY_TLS),
    unused_value(
        "",
        "proxy_use_forwarding_for_https",
        "true",
        "https:// destinations are reached through a tunnel",
    ),
    unused("", "mfa_serial", "a server cannot ask for a code; use a role without MFA"),
    unused(
        "",
        "login_session",
        "run `aws configure export-credentials` as credential_process instead",
    ),
    unused("", "aws_security_token", "write aws_session_token instead"),
    unused("BOTO_CONFIG", "", "it is a setting of boto 2; use AWS_CONFIG_FILE instead"),
];

/// Settings in the profile's `s3` section.
const UNUSED_IN_S3: [Unused; 3] = [
    unused("", "payload_signing_enabled", "every object is sent with its SHA-256"),
    unused("", "signature_version", "requests have signatures of version 4"),
    unused("", "use_arn_region", ARNS),
];

/// One line for each setting that is set and not used.
pub(super) fn warnings(
    value: impl Fn(&str, &str) -> Option<String>,
    s3_option: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let matters = |unused: &Unused, value: String| {
        unused.value.is_empty() || value.eq_ignore_ascii_case(unused.value)
    };
    let mut lines = Vec::new();
    for unused in &UNUSED {
        let of_variable =
            (!unused.variable.is_empty()).then(|| value(unused.variable, "")).flatten();
        let of_key = (!unused.key.is_empty()).then(|| value("", unused.key)).flatten();
        if of_variable.is_some_and(|value| matters(unused, value)) {
            lines.push(format!("{} is not used: {}", unused.variable, unused.reason));
        } else if of_key.is_some_and(|value| matters(unused, value)) {
            lines.push(format!("{} of the AWS profile is not used: {}", unused.key, unused.reason));
        }
    }
    for unused in &UNUSED_IN_S3 {
        if s3_option(unused.key).is_some_and(|value| matters(unused, value)) {
            lines.push(format!(
                "s3.{} of the AWS profile is not used: {}",
                unused.key, unused.reason
            ));
        }
    }
    lines
}
