//! Reading bundles back through the API.

use bytes::Bytes;
use tara_export_client::proto::{
    Artifact, BundleArchive, DownloadArtifactRequest, DownloadBundleRequest, GetReportRequest,
    GetReportResponse, download_artifact_response, download_bundle_response,
    get_report_request::View,
};
use tonic::Status;

use crate::harness::{Client, within};

pub(crate) async fn report(
    client: &mut Client,
    name: &str,
    view: View,
) -> Result<GetReportResponse, Status> {
    let request = GetReportRequest { name: name.to_owned(), view: view.into() };
    Ok(within("the report", client.get_report(request)).await?.into_inner())
}

/// Downloads a file from an offset. Returns its description and content; bytes before an error are discarded.
pub(crate) async fn artifact(
    client: &mut Client,
    name: &str,
    path: &str,
    offset: i64,
) -> Result<(Artifact, Vec<u8>), Status> {
    use download_artifact_response::Part;

    let request = DownloadArtifactRequest { name: name.to_owned(), path: path.to_owned(), offset };
    let mut stream = within("the file", client.download_artifact(request)).await?.into_inner();
    let (mut description, mut content) = (None, Vec::new());
    while let Some(message) = within("the next piece", stream.message()).await? {
        match message.part.expect("every message has a part") {
            Part::Artifact(artifact) => {
                assert!(description.is_none() && content.is_empty(), "the description comes first");
                description = Some(artifact);
            }
            Part::Data(piece) => append(&mut content, &piece),
        }
    }
    Ok((description.expect("a description"), content))
}

/// Downloads a bundle as a ZIP file. Returns its description and content; an error includes the bytes before it.
pub(crate) async fn archive(
    client: &mut Client,
    name: &str,
) -> Result<(BundleArchive, Vec<u8>), (Status, Vec<u8>)> {
    use download_bundle_response::Part;

    let request = DownloadBundleRequest { name: name.to_owned() };
    let response = within("the archive", client.download_bundle(request)).await;
    let mut stream = response.map_err(|status| (status, Vec::new()))?.into_inner();
    let (mut description, mut content) = (None, Vec::new());
    loop {
        match within("the next piece", stream.message()).await {
            Ok(Some(message)) => match message.part.expect("every message has a part") {
                Part::Archive(archive) => description = Some(archive),
                Part::Data(piece) => append(&mut content, &piece),
            },
            Ok(None) => return Ok((description.expect("a description"), content)),
            Err(status) => return Err((status, content)),
        }
    }
}

fn append(content: &mut Vec<u8>, piece: &Bytes) {
    assert!(!piece.is_empty() && piece.len() <= 1024 * 1024, "{} bytes", piece.len());
    content.extend_from_slice(piece);
}
