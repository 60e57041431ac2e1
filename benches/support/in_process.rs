//! A server in this process, over an S3 server in memory.

use std::{fs, net::IpAddr, path::Path, sync::Arc};

use clap::{Args as _, Command, FromArgMatches as _, builder::Resettable};
use serde_json::{Value, json};
use tara_export::{
    config::{ListenSettings, Settings},
    export::Stores,
    notifications::Notifications,
    server::{Access, RunningServer, Service},
};
use tara_export_client::Client;
use tara_export_clock::SystemClock;
use tara_export_store::{Store, local::LocalStore};
use tara_export_test_support::TestS3;
use tempfile::TempDir;

use super::s3_store::store_of;

/// A running server with its own S3 server and data directory.
pub(crate) struct InProcess {
    running: RunningServer,
    pub(crate) client: Client,
    pub(crate) s3: TestS3,
    folder: TempDir,
}

impl InProcess {
    /// Starts a server with these targets of notifications; without any, notifications are off.
    pub(crate) async fn start(targets: &[Value]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("exports");
        let local: Arc<dyn Store> = Arc::new(LocalStore::open(data_dir.clone()).expect("a store"));
        let s3 = TestS3::start().await;
        let store = store_of(&s3);
        let mut flags = vec![format!("--data-dir={}", data_dir.display())];
        if !targets.is_empty() {
            flags.push(format!("--notify-file={}", write_targets(folder.path(), targets)));
        }
        let command = Settings::augment_args(Command::new("bench").no_binary_name(true))
            .mut_args(|argument| argument.env(Resettable::Reset));
        let settings = Settings::from_arg_matches(&command.get_matches_from(flags));
        let settings = settings.expect("the settings");
        let stores = Stores { s3: Some(store), local };
        let service = Service::over(&settings, stores, Access::Write, Arc::new(SystemClock))
            .await
            .expect("a service");
        let listen = ListenSettings {
            bind_address: IpAddr::from([127, 0, 0, 1]),
            ..ListenSettings::embedded()
        };
        let running = RunningServer::start(service, &listen).await.expect("a port");
        let url = format!("http://{}", running.address());
        let client = Client::connect(&url).await.expect("a connection");
        Self { running, client, s3, folder }
    }

    /// The notifications; the server must have targets.
    pub(crate) fn notifications(&self) -> Notifications {
        self.running.notifications().expect("targets")
    }

    /// The folder of all its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) async fn shut_down(self) {
        self.running.shut_down().await;
    }
}

/// Writes `NOTIFY_FILE` and the secret that its webhooks name. Returns its path.
fn write_targets(folder: &Path, targets: &[Value]) -> String {
    let secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    fs::write(folder.join("secret"), secret).expect("a file");
    let path = folder.join("targets.json");
    fs::write(&path, json!({ "targets": targets }).to_string()).expect("a file");
    path.display().to_string()
}
