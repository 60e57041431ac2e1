//! What the environment and the profile of this machine say about S3, for this server and for all other programs
//! that use AWS. docs/settings.md has the table.

use std::path::PathBuf;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::{EnvConfigValue, file::EnvConfigFiles, section::EnvConfigSections};
use aws_sdk_s3::config::{SharedHttpClient, retry::RetryConfig};
use aws_types::os_shim_internal::{Env, Fs};
use std::sync::Arc;
use tara_export_outbound::{
    Authorities, ENDPOINT_RULE, Environment, InvalidAuthorities, Proxies, is_endpoint_url,
};

use super::{
    S3Settings,
    credentials::{Provider, ReloadingCredentials, Sources},
    http_client::http_client,
    unused,
};

/// The region if none is configured. S3 responds with the right region if the bucket is elsewhere.
pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// A setting of the environment or the profile cannot be used, and without it S3 would be another one, or not be
/// reached.
#[derive(Debug, thiserror::Error)]
pub enum S3SettingsError {
    /// The endpoint is not a URL that requests can be sent to.
    #[error("{source_name} must be {}, not {value:?}", S3Settings::ENDPOINT_RULE)]
    Endpoint {
        /// The variable, or the key in the profile.
        source_name: String,
        /// Its value.
        value: String,
    },
    /// The certificate authorities cannot be read.
    #[error("{source_name}: {reason}; it must name a file with certificates in PEM format")]
    Authorities {
        /// The variable, or the key in the profile.
        source_name: String,
        /// The cause.
        reason: InvalidAuthorities,
    },
}

/// The configuration that all services share.
pub(super) struct Base {
    pub sdk: SdkConfig,
    pub http_client: SharedHttpClient,
    pub credentials: Arc<ReloadingCredentials>,
}

/// The configuration of the machine.
pub(super) struct Machine {
    pub base: Base,
    /// The endpoint, unless it is Amazon S3.
    pub endpoint_url: Option<String>,
    /// The endpoint as the settings and the variables name it.
    pub site_endpoint: Option<String>,
    pub options: Options,
    pub warnings: Vec<String>,
}

/// Options of the profile's `s3` section.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub path_style: bool,
    pub accelerate: bool,
    pub dual_stack: bool,
}

/// Variables and profile.
pub(super) struct Values {
    environment: Environment,
    env: Env,
    profile: Option<EnvConfigSections>,
}

impl Values {
    pub(super) async fn load(environment: Environment, warnings: &mut Vec<String>) -> Self {
        // boto3 also reads the second names.
        let environment = environment
            .with_alternatives("AWS_PROFILE", &["AWS_DEFAULT_PROFILE"])
            .with_alternatives("AWS_SESSION_TOKEN", &["AWS_SECURITY_TOKEN"]);
        let env = Env::from_slice(&environment.variables().collect::<Vec<_>>());
        let files = EnvConfigFiles::default();
        let loaded = aws_config::profile::load(&Fs::real(), &env, &files, None).await;
        let profile = loaded.map_err(|error| {
            let error = aws_smithy_types::error::display::DisplayErrorContext(&error).to_string();
            warnings.push(format!(
                "the AWS config or credentials file is malformed, so the profile is not used: {}",
                error.split(" (").next().unwrap_or_default()
            ));
        });
        let profile = profile.ok();
        if let Some(name) = environment.get("AWS_PROFILE")
            && profile.as_ref().is_some_and(|profile| profile.get_profile(name).is_none())
        {
            warnings.push(format!(
                "AWS_PROFILE names the profile {name:?}, which the AWS config and credentials files do not have"
            ));
        }
        Self { environment, env, profile }
    }

    /// The value of a variable, or of a key in the profile, and where it was found.
    fn get(&self, variable: &str, key: &str) -> Option<(String, String)> {
        self.find(EnvConfigValue::new().env(variable).profile(key))
    }

    /// As [`Self::get`]; the variable `…_S3` and the profile's `services` section have priority.
    fn get_of_s3(&self, variable: &str, key: &str) -> Option<(String, String)> {
        self.find(EnvConfigValue::new().env(variable).profile(key).service_id("s3"))
    }

    fn find(&self, value: EnvConfigValue<'_>) -> Option<(String, String)> {
        let (value, source) = value.load(&self.env, self.profile.as_ref())?;
        let value = value.trim();
        (!value.is_empty()).then(|| (value.to_owned(), source.to_string()))
    }

    fn is_true(&self, variable: &str, key: &str) -> bool {
        self.get(variable, key).is_some_and(|(value, _)| value.eq_ignore_ascii_case("true"))
    }

    /// A setting in the profile's `s3` section.
    fn s3_option(&self, name: &str) -> Option<String> {
        let section = self.profile.as_ref()?.get("s3")?;
        let found = section.lines().filter_map(|line| line.split_once('='));
        let mut found = found.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    }

    fn options(&self) -> Options {
        let is = |name, expected: &str| {
            self.s3_option(name).is_some_and(|value| value.eq_ignore_ascii_case(expected))
        };
        Options {
            path_style: is("addressing_style", "path"),
            accelerate: is("use_accelerate_endpoint", "true"),
            dual_stack: is("use_dualstack_endpoint", "true"),
        }
    }

    fn region(&self, configured: Option<&str>, warnings: &mut Vec<String>) -> Region {
        let found = [
            self.get("AWS_REGION", "").map(|(value, _)| (value, "AWS_REGION")),
            self.get("AWS_DEFAULT_REGION", "").map(|(value, _)| (value, "AWS_DEFAULT_REGION")),
            self.get("", "region").map(|(value, _)| (value, "region of the AWS profile")),
        ];
        if let Some(region) = configured {
            return Region::new(region.to_owned());
        }
        for (region, source) in found.into_iter().flatten() {
            if S3Settings::is_region(&region) {
                return Region::new(region);
            }
            warnings.push(format!(
                "{source} is not used: {region:?} is not {}",
                S3Settings::REGION_RULE
            ));
        }
        Region::from_static(DEFAULT_REGION)
    }

    /// The endpoint and whether only the profile names it. The order is that of the AWS SDKs.
    fn endpoint(
        &self,
        settings: &S3Settings,
        warnings: &mut Vec<String>,
    ) -> Result<Option<(String, bool)>, S3SettingsError> {
        let of_variable = self.environment.get("AWS_ENDPOINT_URL").map(str::trim);
        if let Some(url) = &settings.endpoint_url
            && of_variable != Some(url.as_str())
        {
            return Ok(Some((url.clone(), false)));
        }
        let found = self.get_of_s3("AWS_ENDPOINT_URL", "endpoint_url");
        let Some((url, source)) = found else { return Ok(None) };
        if self.is_true("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "ignore_configured_endpoint_urls") {
            warnings.push(
                "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS is set: the configured endpoint is not used, requests are sent to \
                 Amazon S3"
                    .to_owned(),
            );
            return Ok(None);
        }
        match S3Settings::is_endpoint_url(&url) {
            true => Ok(Some((url, source.contains("profile")))),
            false => {
                let source_name = format!("the endpoint URL of S3 ({source})");
                Err(S3SettingsError::Endpoint { source_name, value: url })
            }
        }
    }

    fn authorities(&self) -> Result<Authorities, S3SettingsError> {
        let found = self.get("AWS_CA_BUNDLE", "ca_bundle").map(|(path, source)| {
            match source.contains("profile") {
                true => (path, "ca_bundle of the AWS profile"),
                false => (path, "AWS_CA_BUNDLE"),
            }
        });
        let of_python =
            || self.get("REQUESTS_CA_BUNDLE", "").map(|(path, _)| (path, "REQUESTS_CA_BUNDLE"));
        let Some((path, source)) = found.or_else(of_python) else {
            return Ok(Authorities::of_system());
        };
        Authorities::read(&self.expanded(&path)).map_err(|reason| S3SettingsError::Authorities {
            source_name: source.to_owned(),
            reason,
        })
    }

    fn expanded(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), self.environment.get("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => PathBuf::from(path),
        }
    }

    /// The files that the chain of credential providers reads.
    fn sources(&self) -> Sources {
        let path =
            |variable, default| self.expanded(self.environment.get(variable).unwrap_or(default));
        let mut files = vec![
            path("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
            path("AWS_CONFIG_FILE", "~/.aws/config"),
        ];
        let tokens = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
        files
            .extend(tokens.iter().filter_map(|name| self.environment.get(name)).map(PathBuf::from));
        let profile = self.profile.as_ref();
        for name in profile.into_iter().flat_map(EnvConfigSections::profiles) {
            let token = profile
                .and_then(|profile| profile.get_profile(name)?.get("web_identity_token_file"));
            files.extend(token.map(|token| self.expanded(token)));
        }
        Sources { files, folders: vec![self.expanded("~/.aws/sso/cache")] }
    }

    /// The configuration that all services share, in the region that the settings name, if they do.
    pub(super) async fn into_base(
        self,
        region: Option<&str>,
        warnings: &mut Vec<String>,
    ) -> Result<Base, S3SettingsError> {
        let proxies = Proxies::of(&self.environment);
        warnings.extend_from_slice(proxies.warnings());
        let http_client = http_client(&proxies, &self.authorities()?);
        let region = self.region(region, warnings);
        let credentials = ReloadingCredentials::new(
            self.env.clone(),
            region.clone(),
            http_client.clone(),
            self.sources(),
        );
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .env(self.env)
            .region(region)
            .http_client(http_client.clone())
            // The SDK panics if it finds another program's setting that it does not know.
            .retry_config(RetryConfig::standard())
            .credentials_provider(Provider(credentials.clone()))
            .load()
            .await;
        Ok(Base { sdk, http_client, credentials })
    }
}

impl Machine {
    /// Reads files and variables but sends no requests: the first operation loads the credentials, and the region is
    /// not requested from the metadata service, which would take seconds outside of AWS.
    pub(super) async fn load(
        settings: &S3Settings,
        environment: Environment,
    ) -> Result<Self, S3SettingsError> {
        let mut warnings = Vec::new();
        let values = Values::load(environment, &mut warnings).await;
        let endpoint = values.endpoint(settings, &mut warnings)?;
        let mut options = values.options();
        let fips = values.is_true("AWS_USE_FIPS_ENDPOINT", "use_fips_endpoint");
        let dual_stack = values.is_true("AWS_USE_DUALSTACK_ENDPOINT", "use_dualstack_endpoint");
        if endpoint.is_some() {
            if fips || dual_stack || options.accelerate || options.dual_stack {
                warnings.push(
                    "AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT, use_dualstack_endpoint and \
                     use_accelerate_endpoint are not used for S3: they select an endpoint of Amazon S3, and another \
                     one is configured"
                        .to_owned(),
                );
            }
            options = Options { path_style: options.path_style, ..Options::default() };
        }
        warnings.extend(unused::warnings(
            |variable, key| values.get(variable, key).map(|(value, _)| value),
            |name| values.s3_option(name),
        ));
        let base = values.into_base(settings.region.as_deref(), &mut warnings).await?;
        let site_endpoint = endpoint.clone().filter(|(_, is_of_profile)| !is_of_profile);
        Ok(Self {
            base,
            endpoint_url: endpoint.map(|(url, _)| url),
            site_endpoint: site_endpoint.map(|(url, _)| url),
            options,
            warnings,
        })
    }
}

impl S3Settings {
    /// What [`Self::is_endpoint_url`] accepts.
    pub const ENDPOINT_RULE: &'static str = ENDPOINT_RULE;

    /// What [`Self::is_region`] accepts.
    pub const REGION_RULE: &'static str = "a region such as us-east-1: at most 63 letters, digits and hyphens, with neither a hyphen at the start nor at the end";

    /// Whether requests can be sent to a URL. It may have a path.
    pub fn is_endpoint_url(text: &str) -> bool {
        is_endpoint_url(text)
    }

    /// Whether a text can be a region. Other servers than Amazon S3 have regions such as `RegionOne` and `garage`.
    pub fn is_region(text: &str) -> bool {
        let is_valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let has_hyphen_at_edge = text.starts_with('-') || text.ends_with('-');
        (1..=63).contains(&text.len()) && text.bytes().all(is_valid) && !has_hyphen_at_edge
    }
}
