//! Exports a review folder through a server, shows the progress, and downloads the readable report:
//! `cargo run --example export_review -- http://127.0.0.1:8080 examples/sample-review`.

use std::{error::Error, path::Path};

use futures::TryStreamExt as _;
use tara_export_client::{
    Client, ClientError,
    proto::{Export, export_event::Event},
    session,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, folder] = arguments.as_slice() else {
        return Err("usage: export_review SERVER FOLDER".into());
    };
    let client = Client::connect(server).await?;
    let export = export_review(&client, folder.as_ref()).await?;
    println!("{} has {} files", export.name, export.artifact_count);
    Ok(())
}

// The client's README shows this function.
pub(crate) async fn export_review(
    client: &Client,
    folder: &Path,
) -> Result<Export, Box<dyn Error>> {
    // session.json from the review application, and the documents next to it.
    let mut loaded = session::read_folder(folder)?;
    for document in std::mem::take(&mut loaded.large_documents) {
        let uploaded = client.upload_file(&document.path, |bytes| println!("{bytes}")).await?;
        loaded.set_uploaded(&document, &uploaded);
    }
    let mut events = client.export(loaded.request);
    while let Some(event) = events.try_next().await? {
        match event.event {
            Some(Event::ArtifactStored(stored)) => println!("stored {}", stored.path),
            Some(Event::FellBack(fell_back)) => println!("fell back: {}", fell_back.message),
            Some(Event::Completed(completed)) => {
                let export = completed.export.ok_or(ClientError::Protocol("no export"))?;
                let mut report = tokio::io::stdout();
                client.download_artifact(&export.name, "readable_report.txt", &mut report).await?;
                return Ok(export);
            }
            Some(Event::Failed(failed)) => return Err(failed.message.into()),
            _ => {}
        }
    }
    Err("the events ended before the export".into())
}
