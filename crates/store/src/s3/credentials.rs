//! Credentials that follow their sources: the SDK reads files once, and keeps what it read.
//!
//! The chain of providers is built again, and all cached credentials are discarded, when a file that it reads has
//! changed, when S3 refuses the credentials, at SIGHUP, and after each failure to load them.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{
    self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
};
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, SharedHttpClient,
        interceptors::FinalizerInterceptorContextRef, retry::RetryConfig,
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use aws_types::os_shim_internal::Env;
use rustix::io::Errno;

/// How often the files are checked for changes, at most.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);
/// How long a check may take. A file on an unreachable volume must not block requests.
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// How often refused credentials are loaded again, at most: a load can run a process, or call STS.
const REFUSED_INTERVAL: Duration = Duration::from_secs(10);
/// The maximum number of files that are checked.
const FILES_LIMIT: usize = 64;

/// Error codes of S3 that other credentials can avoid (Amazon S3 API Reference, "Error responses").
const REFUSALS: [&str; 7] = [
    "AuthFailure",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
];

/// The SDK's default chain of providers, built again when its sources change.
pub(super) struct ReloadingCredentials {
    env: Env,
    region: Region,
    http_client: SharedHttpClient,
    sources: Sources,
    /// Increased when cached credentials must not be used any more.
    generation: AtomicU64,
    chain: tokio::sync::Mutex<Option<Chain>>,
    watch: Mutex<Watch>,
}

/// The chain of one generation.
struct Chain {
    generation: u64,
    provider: SharedCredentialsProvider,
}

#[derive(Default)]
struct Watch {
    checked: Option<Instant>,
    is_checking: bool,
    refused: Option<Instant>,
    state: Option<Vec<FileState>>,
}

/// The files that the chain reads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// Files, whether they exist or not.
    pub files: Vec<PathBuf>,
    /// Folders whose files are sources.
    pub folders: Vec<PathBuf>,
}

/// What changes when a file is replaced or written.
type FileState = (PathBuf, Option<(SystemTime, i64, i64, u64, u64)>);

impl Sources {
    /// The current state of the files. `None` if the process has no file descriptor to read it. Blocks.
    fn state(&self) -> Option<Vec<FileState>> {
        let mut paths = self.files.clone();
        for folder in &self.folders {
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            let mut found: Vec<PathBuf> =
                entries.take(FILES_LIMIT).map(|entry| entry.path()).collect();
            found.sort();
            paths.append(&mut found);
        }
        paths.truncate(FILES_LIMIT);
        let state = paths.into_iter().map(|path| (path.clone(), state_of(&path))).collect();
        descriptor_shortage().is_none().then_some(state)
    }
}

/// The system's error if this process can open no file now. The SDK's providers read such a file as an empty one, and
/// report that there are no credentials.
fn descriptor_shortage() -> Option<io::Error> {
    let error = fs::File::open("/").err()?;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE)).then_some(error)
}

fn state_of(path: &Path) -> Option<(SystemTime, i64, i64, u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    let modified = metadata.modified().ok()?;
    Some((modified, metadata.ctime(), metadata.ctime_nsec(), metadata.ino(), metadata.len()))
}

impl fmt::Debug for ReloadingCredentials {
    // Without the credentials.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ReloadingCredentials")
            .field("sources", &self.sources)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl ReloadingCredentials {
    pub(super) fn new(
        env: Env,
        region: Region,
        http_client: SharedHttpClient,
        sources: Sources,
    ) -> Arc<Self> {
        // Before the chain reads the files, so that no change is missed.
        let watch = Watch { state: sources.state(), ..Watch::default() };
        Arc::new(Self {
            env,
            region,
            http_client,
            sources,
            generation: AtomicU64::new(0),
            chain: tokio::sync::Mutex::new(None),
            watch: Mutex::new(watch),
        })
    }

    /// The current generation. Credentials of an earlier one must be loaded again.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Discards all credentials, so that the next request loads them again.
    pub(super) fn reload(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// Discards all credentials if a file changed since the last check.
    pub(super) async fn check(self: &Arc<Self>) {
        if !self.begin_check() {
            return;
        }
        let credentials = self.clone();
        let checking = tokio::task::spawn_blocking(move || credentials.end_check());
        // A check that takes longer ends in the background.
        let _ = tokio::time::timeout(CHECK_TIMEOUT, checking).await;
    }

    fn watch(&self) -> std::sync::MutexGuard<'_, Watch> {
        // A panic never leaves the state inconsistent.
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_check(&self) -> bool {
        let mut watch = self.watch();
        let is_due = watch.checked.is_none_or(|checked| checked.elapsed() >= CHECK_INTERVAL);
        if watch.is_checking || !is_due {
            return false;
        }
        (watch.is_checking, watch.checked) = (true, Some(Instant::now()));
        true
    }

    fn end_check(&self) {
        let state = self.sources.state();
        let mut watch = self.watch();
        watch.is_checking = false;
        let Some(state) = state else { return };
        if watch.state.as_ref() != Some(&state) {
            watch.state = Some(state);
            self.reload();
            tracing::info!(
                "a file with AWS credentials changed: loading the AWS credentials again"
            );
        }
    }

    /// Discards all credentials because a service refused them, at most once in an interval.
    pub(super) fn refused(&self, service: &str, code: &str) {
        let mut watch = self.watch();
        if watch.refused.is_some_and(|refused| refused.elapsed() < REFUSED_INTERVAL) {
            return;
        }
        watch.refused = Some(Instant::now());
        self.reload();
        tracing::warn!(code, "{service} refused the credentials: loading them again");
    }

    async fn load(&self) -> provider::Result {
        let (generation, provider) = {
            let mut chain = self.chain.lock().await;
            let generation = self.generation();
            match chain.as_ref().filter(|chain| chain.generation == generation) {
                Some(chain) => (generation, chain.provider.clone()),
                None => {
                    let provider = self.build().await?;
                    *chain = Some(Chain { generation, provider: provider.clone() });
                    (generation, provider)
                }
            }
        };
        let loaded = provider.provide_credentials().await;
        if loaded.is_err() {
            // The SDK's providers keep what they read from files, also if it was not usable.
            let mut chain = self.chain.lock().await;
            chain.take_if(|chain| chain.generation == generation);
            if let Some(shortage) = descriptor_shortage() {
                return Err(CredentialsError::provider_error(shortage));
            }
        }
        loaded
    }

    async fn build(&self) -> Result<SharedCredentialsProvider, CredentialsError> {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .env(self.env.clone())
            .region(self.region.clone())
            .http_client(self.http_client.clone())
            .retry_config(RetryConfig::standard())
            .load()
            .await;
        let no_provider = || CredentialsError::not_loaded("no provider");
        config.credentials_provider().ok_or_else(no_provider)
    }
}

/// The credentials as a provider of the SDK.
#[derive(Debug, Clone)]
pub(super) struct Provider(pub Arc<ReloadingCredentials>);

impl ProvideCredentials for Provider {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.load())
    }
}

/// An interceptor that loads the credentials again after S3 refused them.
#[derive(Debug)]
pub(super) struct Refusals(pub Arc<ReloadingCredentials>);

#[dyn_dispatch_hint]
impl Intercept for Refusals {
    fn name(&self) -> &'static str {
        "Refusals"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _runtime_components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(response) = context.response() else { return Ok(()) };
        if matches!(response.status().as_u16(), 400 | 401 | 403)
            && let Some(body) = response.body().bytes()
            && let Some(code) = refusal(&String::from_utf8_lossy(body))
        {
            self.0.refused("S3", code);
        }
        Ok(())
    }
}

/// The error code of a response if other credentials can avoid it. Responses without a body (HEAD) have none.
fn refusal(body: &str) -> Option<&'static str> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    REFUSALS.into_iter().find(|refusal| *refusal == code.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_recognized_by_their_code() {
        let body =
            |code: &str| format!("<?xml?><Error><Code>{code}</Code><Message>m</Message></Error>");
        assert_eq!(refusal(&body("ExpiredToken")), Some("ExpiredToken"));
        assert_eq!(refusal(&body("SignatureDoesNotMatch")), Some("SignatureDoesNotMatch"));
        assert_eq!(refusal(&body("AccessDenied")), None);
        assert_eq!(refusal("ExpiredToken"), None);
    }
}
