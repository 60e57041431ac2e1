//! A server in this process, with a disk and an S3 that outlive it.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _, builder::Resettable};
use tara_export::{
    config::{ListenSettings, Settings},
    export::Stores,
    health::Acceptance,
    server::{Access, RunningServer, Service},
};
use tara_export_client::proto::{
    CheckStorageRequest, Destination, Export, ExportEvent, GetExportRequest, GetReportRequest,
    GetUploadRequest, ListExportsRequest, Upload, export::State, export_event::Event,
    export_service_client::ExportServiceClient,
};
use tara_export_clock::SystemClock;
use tara_export_store::{
    local::LocalStore,
    s3::{S3Settings, S3Store, ServerSideEncryption},
};
use tara_export_test_support::TestS3;
use tempfile::TempDir;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{
    callers::request,
    ledger::ExportCase,
    process::{until, within},
    stores::Snapshot,
};

const FLAGS: [&str; 4] =
    ["--port=0", "--s3-retry-budget=2s", "--s3-outage-pause=20ms", "--shutdown-timeout=1s"];
const PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Machine {
    folder: TempDir,
    pub(crate) s3: TestS3,
}

pub(crate) struct Server {
    running: RunningServer,
    client: ExportServiceClient<Channel>,
}

/// The events of an export.
pub(crate) struct Events(Streaming<ExportEvent>);

impl Machine {
    pub(crate) async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), s3: TestS3::start().await }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    pub(crate) async fn start(&self) -> Server {
        self.start_with(&[]).await
    }

    /// Starts a server with these flags in addition to the defaults.
    pub(crate) async fn start_with(&self, more: &[&str]) -> Server {
        let command = Command::new("test").no_binary_name(true).args_override_self(true);
        let command = ListenSettings::augment_args(Settings::augment_args(command))
            .mut_args(|argument| argument.env(Resettable::Reset));
        let data_dir = format!("--data-dir={}", self.data_dir().display());
        let flags = FLAGS.into_iter().chain([data_dir.as_str()]).chain(more.iter().copied());
        let matches = command.try_get_matches_from(flags).unwrap();
        let settings = Settings::from_arg_matches(&matches).unwrap();
        let listen = ListenSettings::from_arg_matches(&matches).unwrap();
        let s3 = S3Settings {
            bucket: self.s3.bucket().to_owned(),
            base_path: "tara/".to_owned(),
            region: Some(self.s3.region().to_owned()),
            endpoint_url: Some(self.s3.endpoint()),
            path_style: true,
            server_side_encryption: ServerSideEncryption::BucketDefault,
            expected_bucket_owner: None,
            object_lock: None,
            connect_timeout: settings.store.s3_connect_timeout,
            read_timeout: settings.store.s3_read_timeout,
            operation_timeout: settings.store.s3_operation_timeout,
            concurrent_requests: 256,
        };
        let stores = Stores {
            s3: Some(Arc::new(S3Store::from_sdk_config(s3, &self.s3.sdk_config()))),
            local: Arc::new(LocalStore::open(settings.disk.data_dir.clone()).unwrap()),
        };
        let service =
            Service::over(&settings, stores, Access::Write, Arc::new(SystemClock)).await.unwrap();
        let running = RunningServer::start(service, &listen).await.unwrap();
        let url = format!("http://{}", running.address());
        Server { running, client: ExportServiceClient::connect(url).await.unwrap() }
    }

    /// The files of the journal, including temporary ones.
    pub(crate) fn journal(&self) -> Vec<String> {
        let own = Snapshot::of_folder(&self.data_dir().join(".tara-export/journal"));
        own.0.into_keys().collect()
    }

    pub(crate) async fn until_journal_is_empty(&self) {
        until("the journal is empty", || self.journal().is_empty()).await;
    }

    /// Checks that an export has its bundle in this store and not in the other.
    pub(crate) fn assert_one_bundle(&self, case: ExportCase, destination: Destination) {
        let in_s3 = Snapshot::of_s3(&self.s3).bundles().contains_key(&case.export_id());
        let in_local =
            Snapshot::of_folder(&self.data_dir()).bundles().contains_key(&case.export_id());
        assert_eq!(
            (in_s3, in_local),
            (destination == Destination::S3, destination == Destination::Local)
        );
    }

    /// Checks that the local store is empty.
    pub(crate) fn assert_local_store_is_empty(&self) {
        let files = Snapshot::of_folder(&self.data_dir()).0.into_keys();
        let ignored = [".tara-export/receipts/", ".tara-export/probe/", ".tara-export/stores.json"];
        let left: Vec<String> =
            files.filter(|key| !ignored.iter().any(|prefix| key.starts_with(prefix))).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(fs::read_dir(self.data_dir()).unwrap().count(), 1, "empty folders are left");
    }
}

impl Server {
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.running.address()
    }

    /// The server's own acceptance state.
    pub(crate) fn acceptance(&self) -> Acceptance {
        self.running.engine().acceptance().clone()
    }

    /// Reads the store identity, as `serve` does at its start. It must be recorded on disk before
    /// anything is put there.
    pub(crate) async fn read_store_identity(&self) {
        self.running.engine().refresh_store_id().await;
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        within("the server stops", self.running.shut_down()).await;
    }

    /// Starts an export that must be accepted.
    pub(crate) async fn accepted(&mut self, case: ExportCase) -> Events {
        let call = self.client.start_export(request(case));
        let mut events = within("StartExport", call).await.unwrap().into_inner();
        let first = within("the first event", events.message()).await.unwrap().unwrap();
        assert!(matches!(first.event, Some(Event::Accepted(_))), "{first:?}");
        Events(events)
    }

    /// Starts an export that must be refused.
    pub(crate) async fn refused(&mut self, case: ExportCase) -> Status {
        within("StartExport", self.client.start_export(request(case))).await.unwrap_err()
    }

    pub(crate) async fn export(&mut self, case: ExportCase) -> Export {
        self.accepted(case).await.completed().await
    }

    pub(crate) async fn committed(&mut self, case: ExportCase) -> Export {
        let export = self.export(case).await;
        assert_eq!(export.state(), State::Committed, "{export:?}");
        export
    }

    pub(crate) async fn get(&mut self, case: ExportCase) -> Result<Export, Status> {
        let request = GetExportRequest { name: format!("exports/{}", case.export_id()) };
        Ok(self.client.get_export(request).await?.into_inner().export.unwrap())
    }

    pub(crate) async fn get_upload(&mut self, name: &str) -> Result<Upload, Status> {
        let request = GetUploadRequest { name: name.to_owned() };
        Ok(self.client.get_upload(request).await?.into_inner().upload.unwrap())
    }

    pub(crate) async fn until_state(&mut self, case: ExportCase, state: State) -> Export {
        let waiting = async {
            loop {
                match self.get(case).await {
                    Ok(export) if export.state() == state => return export,
                    Ok(_) => {}
                    // A read during S3's outage.
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(&format!("{case:?} {state:?}"), waiting).await
    }

    /// Waits until a sync attempt has failed.
    pub(crate) async fn until_attempt_failed(&mut self, case: ExportCase) {
        let waiting = async {
            loop {
                let checks = self.client.check_storage(CheckStorageRequest {}).await.unwrap();
                let checks = checks.into_inner().checks;
                let row = checks.iter().find(|row| row.check == "exports.fell_back").unwrap();
                // The disk's error replaces the error of the outage.
                if row.message.contains(&case.export_id()) && row.message.contains("os error") {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within("a failed attempt", waiting).await;
    }

    /// The message of this row of CheckStorage.
    pub(crate) async fn check(&mut self, name: &str) -> String {
        let checks = self.client.check_storage(CheckStorageRequest {}).await.unwrap();
        let checks = checks.into_inner().checks;
        checks.into_iter().find(|row| row.check == name).unwrap().message
    }

    /// The ids of all exports that are listed.
    pub(crate) async fn listed(&mut self) -> Vec<String> {
        let response = self.client.list_exports(ListExportsRequest::default()).await.unwrap();
        let exports = response.into_inner().exports.into_iter();
        exports.map(|export| export.name.strip_prefix("exports/").unwrap().to_owned()).collect()
    }

    /// Checks that a committed bundle can be read.
    pub(crate) async fn assert_readable(&mut self, case: ExportCase) {
        assert_eq!(self.get(case).await.unwrap().state(), State::Committed);
        let name = format!("exports/{}", case.export_id());
        let report = GetReportRequest { name, ..GetReportRequest::default() };
        self.client.get_report(report).await.unwrap();
    }
}

impl Events {
    /// The committed export; `None` if it failed.
    pub(crate) async fn end(&mut self) -> Option<Export> {
        while let Some(event) = self.0.message().await.unwrap() {
            match event.event {
                Some(Event::Completed(completed)) => return completed.export,
                Some(Event::Failed(_)) => return None,
                _ => {}
            }
        }
        panic!("the stream ended before the export did");
    }

    pub(crate) async fn completed(&mut self) -> Export {
        within("the export completes", self.end()).await.expect("the export failed")
    }
}
