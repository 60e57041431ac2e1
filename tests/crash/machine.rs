//! A server in this process, and what outlives it.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args as _, Command, FromArgMatches as _, builder::Resettable};
use tara_export::{
    clock::SystemClock,
    config::{ListenSettings, Settings},
    export::Stores,
    health::Acceptance,
    proto::{
        CheckStorageRequest, Destination, Export, ExportEvent, GetExportRequest, GetReportRequest,
        ListExportsRequest, export::State, export_event::Event,
        export_service_client::ExportServiceClient,
    },
    server::{Access, RunningServer, Service},
    store::{
        local::LocalStore,
        s3::{S3Settings, S3Store, ServerSideEncryption},
    },
};
use tara_export_test_support::TestS3;
use tempfile::TempDir;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{
    callers::request,
    ledger::Wish,
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

/// An export's events.
pub(crate) struct Events(Streaming<ExportEvent>);

impl Machine {
    pub(crate) async fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), s3: TestS3::start().await }
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("exports")
    }

    pub(crate) async fn start(&self) -> Server {
        let command = Command::new("test").no_binary_name(true);
        let command = ListenSettings::augment_args(Settings::augment_args(command))
            .mut_args(|argument| argument.env(Resettable::Reset));
        let data_dir = format!("--data-dir={}", self.data_dir().display());
        let flags = FLAGS.into_iter().chain([data_dir.as_str()]);
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
            connect_timeout: settings.s3_connect_timeout,
            read_timeout: settings.s3_read_timeout,
            operation_timeout: settings.s3_operation_timeout,
            concurrent_requests: 256,
            prices: Default::default(),
        };
        let stores = Stores {
            s3: Some(Arc::new(S3Store::from_sdk_config(s3, &self.s3.sdk_config()))),
            local: Arc::new(LocalStore::open(settings.data_dir.clone()).unwrap()),
        };
        let service =
            Service::over(&settings, stores, Access::Write, Arc::new(SystemClock)).await.unwrap();
        let running = RunningServer::start(service, &listen).await.unwrap();
        let url = format!("http://{}", running.address());
        Server { running, client: ExportServiceClient::connect(url).await.unwrap() }
    }

    /// The journal's entries, and what is on its way there.
    pub(crate) fn journal(&self) -> Vec<String> {
        let own = Snapshot::of_folder(&self.data_dir().join(".tara-export/journal"));
        own.0.into_keys().collect()
    }

    pub(crate) async fn until_journal_is_empty(&self) {
        until("the journal is empty", || self.journal().is_empty()).await;
    }

    /// Checks that an export has its bundle there, and nowhere else.
    pub(crate) fn has_one_whole_bundle(&self, wish: Wish, place: Destination) {
        let in_s3 = Snapshot::of_s3(&self.s3).bundles().contains_key(&wish.export_id());
        let in_local =
            Snapshot::of_folder(&self.data_dir()).bundles().contains_key(&wish.export_id());
        assert_eq!((in_s3, in_local), (place == Destination::S3, place == Destination::Local));
    }

    /// Checks that the local store is empty.
    pub(crate) fn has_nothing_local(&self) {
        let files = Snapshot::of_folder(&self.data_dir()).0.into_keys();
        let notes = [".tara-export/receipts/", ".tara-export/probe/"];
        let left: Vec<String> =
            files.filter(|key| !notes.iter().any(|note| key.starts_with(note))).collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(fs::read_dir(self.data_dir()).unwrap().count(), 1, "empty folders are left");
    }
}

impl Server {
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.running.address()
    }

    /// Whether it accepts exports, as it knows it.
    pub(crate) fn acceptance(&self) -> Acceptance {
        self.running.engine().acceptance().clone()
    }

    pub(crate) async fn stop(self) {
        drop(self.client);
        within("the server stops", self.running.shut_down()).await;
    }

    /// Starts an export that must be accepted.
    pub(crate) async fn accepted(&mut self, wish: Wish) -> Events {
        let call = self.client.start_export(request(wish));
        let mut events = within("StartExport", call).await.unwrap().into_inner();
        let first = within("its first event", events.message()).await.unwrap().unwrap();
        assert!(matches!(first.event, Some(Event::Accepted(_))), "{first:?}");
        Events(events)
    }

    /// Starts an export that must be refused.
    pub(crate) async fn refused(&mut self, wish: Wish) -> Status {
        within("StartExport", self.client.start_export(request(wish))).await.unwrap_err()
    }

    pub(crate) async fn export(&mut self, wish: Wish) -> Export {
        self.accepted(wish).await.completed().await
    }

    pub(crate) async fn committed(&mut self, wish: Wish) -> Export {
        let export = self.export(wish).await;
        assert_eq!(export.state(), State::Committed, "{export:?}");
        export
    }

    async fn get(&mut self, wish: Wish) -> Result<Export, Status> {
        let request = GetExportRequest { name: format!("exports/{}", wish.export_id()) };
        Ok(self.client.get_export(request).await?.into_inner().export.unwrap())
    }

    pub(crate) async fn until_state(&mut self, wish: Wish, state: State) -> Export {
        let waiting = async {
            loop {
                match self.get(wish).await {
                    Ok(export) if export.state() == state => return export,
                    Ok(_) => {}
                    // A read during S3's outage.
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within(&format!("{wish:?} {state:?}"), waiting).await
    }

    /// Waits until an attempt to send what fell back has failed.
    pub(crate) async fn until_set_back(&mut self, wish: Wish) {
        let waiting = async {
            loop {
                let checks = self.client.check_storage(CheckStorageRequest {}).await.unwrap();
                let checks = checks.into_inner().checks;
                let row = checks.iter().find(|row| row.check == "exports.fell_back").unwrap();
                // What the disk says comes after what the outage said.
                if row.message.contains(&wish.export_id()) && row.message.contains("could not") {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        within("a setback", waiting).await;
    }

    /// The ids of all exports that are listed.
    pub(crate) async fn listed(&mut self) -> Vec<String> {
        let response = self.client.list_exports(ListExportsRequest::default()).await.unwrap();
        let exports = response.into_inner().exports.into_iter();
        exports.map(|export| export.name.strip_prefix("exports/").unwrap().to_owned()).collect()
    }

    /// Checks that a committed bundle can be read.
    pub(crate) async fn reads(&mut self, wish: Wish) {
        assert_eq!(self.get(wish).await.unwrap().state(), State::Committed);
        let name = format!("exports/{}", wish.export_id());
        let report = GetReportRequest { name, ..GetReportRequest::default() };
        self.client.get_report(report).await.unwrap();
    }
}

impl Events {
    /// The committed export; none where it failed.
    pub(crate) async fn end(&mut self) -> Option<Export> {
        while let Some(event) = self.0.message().await.unwrap() {
            match event.event {
                Some(Event::Completed(completed)) => return completed.export,
                Some(Event::Failed(_)) => return None,
                _ => {}
            }
        }
        panic!("the stream ended without an end of the export");
    }

    pub(crate) async fn completed(&mut self) -> Export {
        within("the export completes", self.end()).await.expect("it failed")
    }
}
