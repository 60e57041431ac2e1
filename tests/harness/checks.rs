//! The checks of CheckStorage.

use tara_export_client::proto::{CheckStorageRequest, StorageCheck};

use super::Client;

pub(crate) async fn checks(client: &mut Client) -> Vec<StorageCheck> {
    client.check_storage(CheckStorageRequest {}).await.unwrap().into_inner().checks
}

pub(crate) fn check<'a>(checks: &'a [StorageCheck], name: &str) -> &'a StorageCheck {
    checks.iter().find(|check| check.check == name).unwrap()
}
