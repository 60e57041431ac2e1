//! Waiting for what the API or the disk shows.

use std::time::Duration;

use tara_export::{
    export::Status,
    proto::{Export, GetExportRequest, export::State},
};
use tokio::time;

use crate::harness::{Client, Host, TestServer, within};

/// Between two looks: who looks all the time takes the machine away from what is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

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
            time::sleep(LOOK_AGAIN).await;
        }
    };
    within(&format!("{name} {state:?}"), waiting).await
}

/// Waits until the status of the server's exports is like this.
pub(crate) async fn until_status(
    server: &TestServer,
    what: &str,
    wanted: impl Fn(&Status) -> bool,
) -> Status {
    let waiting = async {
        loop {
            let status = status(server).await;
            if wanted(&status) {
                return status;
            }
            time::sleep(LOOK_AGAIN).await;
        }
    };
    within(what, waiting).await
}

pub(crate) async fn status(server: &TestServer) -> Status {
    server.running.engine().status().await.expect("a server that writes has a journal")
}

/// The journal's entries on a machine's disk, by their names.
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

/// Waits until nothing of an export needs to stay on this machine.
pub(crate) async fn until_journal_is_empty(host: &Host) {
    let waiting = async {
        while !journal(host).is_empty() {
            time::sleep(LOOK_AGAIN).await;
        }
    };
    within("the journal to empty", waiting).await;
}
