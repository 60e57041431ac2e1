//! Waits until the API or the disk shows a state.

use std::time::Duration;

use tara_export::export::Status;
use tara_export_client::proto::{Export, GetExportRequest, export::State};
use tokio::time;

use super::{Client, Host, TestServer, within};

/// Polling without a pause would slow down the server under test.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

pub(crate) async fn read(client: &mut Client, name: &str) -> Export {
    let request = GetExportRequest { name: name.to_owned() };
    client.get_export(request).await.unwrap().into_inner().export.unwrap()
}

/// Waits until an export is in this state.
pub(crate) async fn until_state(client: &mut Client, name: &str, state: State) -> Export {
    let waiting = async {
        loop {
            let export = read(client, name).await;
            if export.state() == state {
                return export;
            }
            time::sleep(POLL_INTERVAL).await;
        }
    };
    within(&format!("{name} {state:?}"), waiting).await
}

/// Waits until the server knows an export that another replica accepted.
pub(crate) async fn until_known(client: &mut Client, name: &str) -> Export {
    let waiting = async {
        loop {
            let request = GetExportRequest { name: name.to_owned() };
            if let Ok(response) = client.get_export(request).await {
                return response.into_inner().export.unwrap();
            }
            time::sleep(POLL_INTERVAL).await;
        }
    };
    within(name, waiting).await
}

/// Waits until the data directory contains exactly these files. No event reports the cleanup after a commit.
pub(crate) async fn until_files(host: &Host, files: &[String]) {
    let waiting = async {
        while host.files() != files {
            time::sleep(POLL_INTERVAL).await;
        }
    };
    within(&format!("{files:?} instead of {:?}", host.files()), waiting).await;
}

/// Waits until the status of the server's exports matches `condition`.
pub(crate) async fn until_status(
    server: &TestServer,
    what: &str,
    condition: impl Fn(&Status) -> bool,
) -> Status {
    let waiting = async {
        loop {
            let status = status(server).await;
            if condition(&status) {
                return status;
            }
            time::sleep(POLL_INTERVAL).await;
        }
    };
    within(what, waiting).await
}

pub(crate) async fn status(server: &TestServer) -> Status {
    server.running.engine().status().await.expect("a server that writes has a journal")
}

/// The names of the journal entries on the host's disk.
pub(crate) fn journal(host: &Host) -> Vec<String> {
    let prefix = ".tara-export/journal/";
    let files = host.files().into_iter();
    files
        .filter_map(|file| {
            let name = file.strip_prefix(prefix)?;
            name.ends_with(".export").then(|| name.to_owned())
        })
        .collect()
}

/// Waits until all exports are finished and removed from the journal.
pub(crate) async fn until_journal_is_empty(host: &Host) {
    let waiting = async {
        while !journal(host).is_empty() {
            time::sleep(POLL_INTERVAL).await;
        }
    };
    within("the journal to empty", waiting).await;
}
