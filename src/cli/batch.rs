//! `batch`: exports many reviews and follows them until all have ended.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use futures::StreamExt as _;
use indicatif::ProgressBar;
use prost::Message as _;
use tara_export_client::{
    Client, ClientError, Protocol,
    proto::{
        BatchCounts, BatchItem, BatchStartExportsRequest, Destination, Fallback,
        StartExportRequest, batch_item::State, watch_batch_response::Event,
    },
    request_from_json, session, to_json,
};
use uuid::Uuid;

use super::{
    CliError, ExitStatus, Interruption, Output, ServerArguments,
    export::{DestinationArgument, FallbackArgument},
    format::{printable, printable_json},
    progress::style,
    server::shell_word,
    table::{Column, Table},
    upload::upload,
};

/// Requests in one call: the server's limit.
const MAX_REQUESTS: usize = 500;
/// Bytes in one call: below the server's default limit of 32 MiB.
const MAX_BATCH_BYTES: usize = 24 * 1024 * 1024;
/// The largest file with a request in each line.
const MAX_FILE_BYTES: u64 = 1024 * 1024 * 1024;
/// Warnings that are printed for all requests.
const MAX_WARNINGS: usize = 20;

/// Arguments of `batch`.
#[derive(Debug, Args)]
pub struct BatchCommand {
    /// Folders with session.json, before.*, after.* and guidelines.*, folders of such folders, or files with a request
    /// in proto3 JSON on each line
    #[arg(required = true, value_name = "FILE.ndjson|FOLDER")]
    pub paths: Vec<PathBuf>,
    /// Store for the bundles; by default, S3 if the server has a bucket, else the local store
    #[arg(long, value_enum)]
    pub destination: Option<DestinationArgument>,
    /// Behavior if S3 fails; by default, the bundles are stored in the local store
    #[arg(long, value_enum)]
    pub fallback: Option<FallbackArgument>,
    /// Id of the batch; repeating an id with the same reviews never creates a second bundle of one
    #[arg(long, value_name = "UUID")]
    pub batch_id: Option<Uuid>,
    /// File for the results: one line of proto3 JSON for each review
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Print each step as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
}

/// A request with the path or line that it was read from.
struct Input {
    origin: String,
    request: StartExportRequest,
}

/// The results of all calls.
#[derive(Default)]
struct Results {
    counts: BatchCounts,
    /// What did not reach its destination, with its origin.
    others: Vec<(String, BatchItem)>,
}

impl BatchCommand {
    /// Exports all reviews, at most 500 at a time, and follows them until they have ended.
    ///
    /// # Errors
    /// If the input cannot be read, a call fails or contact is lost.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let mut report = self.report.as_deref().map(create).transpose()?;
        let batch_id = self.batch_id.unwrap_or_else(Uuid::new_v4);
        let mut sources = Sources::of(&self.paths)?;
        let bar = match out.stderr_is_terminal() && !self.json {
            true => {
                ProgressBar::new(0).with_style(style("{spinner} {bar:30} {pos} of {len}  {msg}"))
            }
            false => ProgressBar::hidden(),
        };
        let (mut results, mut number) = (Results::default(), 0_u32);
        let mut warnings = 0;
        loop {
            let inputs = self.next_inputs(&client, &mut sources, &mut warnings, out).await?;
            if inputs.is_empty() {
                break;
            }
            bar.inc_length(inputs.len() as u64);
            // Every call of one command has an id of its own, and the same one if the command is repeated.
            let id = match number {
                0 => batch_id,
                _ => Uuid::new_v5(&batch_id, number.to_string().as_bytes()),
            };
            number += 1;
            let (origins, requests): (Vec<String>, Vec<StartExportRequest>) =
                inputs.into_iter().map(|input| (input.origin, input.request)).unzip();
            let request = BatchStartExportsRequest { batch_id: id.to_string(), requests };
            out.set_interruption(Interruption {
                message: "The batch is not finished. What was accepted stays accepted. To finish the batch, run:"
                    .to_owned(),
                command: self.repeat_command(batch_id),
            });
            let mut steps = client.export_batch(request);
            while let Some(step) = steps.next().await {
                let step = step.map_err(|error| self.failed(error, batch_id))?;
                if self.json {
                    out.line(&printable_json(&to_json(&step)))?;
                }
                match step.event {
                    Some(Event::Item(item)) => {
                        if let Some(report) = &mut report {
                            writeln!(report, "{}", to_json(&item))?;
                        }
                        results.add(&origins, item);
                        bar.inc(1);
                        bar.set_message(results.summary());
                    }
                    Some(Event::Ended(batch))
                        if !self.json && !batch.report_location.is_empty() =>
                    {
                        out.note(&format!("report: {}", printable(&batch.report_location)));
                    }
                    _ => {}
                }
            }
        }
        bar.finish_and_clear();
        if results.counts.total == 0 {
            return Err(CliError::NoRequests);
        }
        if !self.json {
            results.print(out)?;
        }
        Ok(results.exit_status())
    }

    /// Reads requests until a call is full. Uploads large documents.
    async fn next_inputs(
        &self,
        client: &Client,
        sources: &mut Sources,
        warnings: &mut usize,
        out: &mut Output,
    ) -> Result<Vec<Input>, CliError> {
        let (mut inputs, mut size_bytes) = (Vec::new(), 0);
        while inputs.len() < MAX_REQUESTS {
            let Some(mut input) = sources.next(client, warnings, out).await? else { break };
            self.apply_arguments(&mut input.request);
            let request_bytes = input.request.encoded_len();
            if !inputs.is_empty() && size_bytes + request_bytes > MAX_BATCH_BYTES {
                sources.put_back(input);
                break;
            }
            size_bytes += request_bytes;
            inputs.push(input);
        }
        Ok(inputs)
    }

    fn apply_arguments(&self, request: &mut StartExportRequest) {
        if let Some(destination) = self.destination {
            request.set_destination(match destination {
                DestinationArgument::S3 => Destination::S3,
                DestinationArgument::Local => Destination::Local,
            });
        }
        if let Some(fallback) = self.fallback {
            request.set_fallback(match fallback {
                FallbackArgument::Local => Fallback::Local,
                FallbackArgument::None => Fallback::None,
            });
        }
    }

    fn failed(&self, source: ClientError, batch_id: Uuid) -> CliError {
        if !matches!(source, ClientError::LostContact { .. }) {
            return source.into();
        }
        CliError::OutcomeUnknown { source, command: self.repeat_command(batch_id) }
    }

    /// The command that repeats the batch with the same reviews and id.
    fn repeat_command(&self, batch_id: Uuid) -> String {
        let mut command = "tara-export batch".to_owned();
        for path in &self.paths {
            command.push(' ');
            command.push_str(&shell_word(&path.to_string_lossy()));
        }
        command.push_str(&format!(" --batch-id {batch_id}"));
        command.push_str(&self.server.command_arguments());
        command
    }
}

/// Creates the report. An existing file stays: it may be that of a previous batch.
fn create(path: &Path) -> Result<fs::File, CliError> {
    match fs::File::create_new(path) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            let message = format!("{} exists; choose another file for --report", path.display());
            Err(std::io::Error::new(error.kind(), message).into())
        }
        created => Ok(created?),
    }
}

/// The requests that are still to be read, last first.
struct Sources {
    left: Vec<Source>,
    put_back: Option<Input>,
}

enum Source {
    Folder(PathBuf),
    /// A file, and where the next line starts.
    Lines {
        path: PathBuf,
        content: Vec<u8>,
        start: usize,
        line: usize,
    },
}

impl Sources {
    /// Finds the folders and files. Reads no session yet.
    fn of(paths: &[PathBuf]) -> Result<Self, CliError> {
        let mut left = Vec::new();
        for path in paths {
            let failed = |source| CliError::ReadFile { path: path.clone(), source };
            let metadata = fs::metadata(path).map_err(failed)?;
            if !metadata.is_dir() {
                if metadata.len() > MAX_FILE_BYTES {
                    let message = format!("the file has more than {MAX_FILE_BYTES} bytes");
                    return Err(failed(std::io::Error::other(message)));
                }
                let content = fs::read(path).map_err(failed)?;
                left.push(Source::Lines { path: path.clone(), content, start: 0, line: 1 });
                continue;
            }
            let mut sessions = Vec::new();
            for entry in fs::read_dir(path).map_err(failed)? {
                let folder = entry.map_err(failed)?.path();
                if folder.join("session.json").exists() {
                    sessions.push(Source::Folder(folder));
                }
            }
            if path.join("session.json").exists() || sessions.is_empty() {
                // Without a session, reading it names the problem.
                left.push(Source::Folder(path.clone()));
            } else {
                sessions.sort_by_key(|source| match source {
                    Source::Folder(folder) => folder.clone(),
                    Source::Lines { path, .. } => path.clone(),
                });
                left.append(&mut sessions);
            }
        }
        left.reverse();
        Ok(Self { left, put_back: None })
    }

    fn put_back(&mut self, input: Input) {
        self.put_back = Some(input);
    }

    async fn next(
        &mut self,
        client: &Client,
        warnings: &mut usize,
        out: &mut Output,
    ) -> Result<Option<Input>, CliError> {
        if let Some(input) = self.put_back.take() {
            return Ok(Some(input));
        }
        loop {
            match self.left.pop() {
                None => return Ok(None),
                Some(Source::Folder(folder)) => {
                    return read_folder(client, folder, warnings, out).await.map(Some);
                }
                Some(Source::Lines { path, content, start, line }) => {
                    let rest = &content[start..];
                    let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                    let request = match rest[..end].trim_ascii() {
                        [] => None,
                        text => Some(request_from_json(text).map_err(|source| {
                            let path = format!("{}:{line}", path.display()).into();
                            CliError::Input(session::InputError::Json { path, source })
                        })?),
                    };
                    let origin = format!("{}:{line}", path.display());
                    let start = start + end + 1;
                    if start < content.len() {
                        self.left.push(Source::Lines { path, content, start, line: line + 1 });
                    }
                    if let Some(request) = request {
                        return Ok(Some(Input { origin, request }));
                    }
                }
            }
        }
    }
}

async fn read_folder(
    client: &Client,
    folder: PathBuf,
    warnings: &mut usize,
    out: &mut Output,
) -> Result<Input, CliError> {
    let origin = folder.display().to_string();
    // Documents of more than a little are uploaded, so that many requests fit into a call.
    let reading =
        tokio::task::spawn_blocking(move || session::read_for(&folder, Protocol::GrpcWeb));
    let mut loaded = reading.await.map_err(|error| CliError::Internal(error.to_string()))??;
    for document in std::mem::take(&mut loaded.large_documents) {
        let uploaded = upload(client, &document.path, out).await?;
        loaded.set_uploaded(&document, &uploaded);
    }
    for warning in &loaded.warnings {
        *warnings += 1;
        match *warnings {
            ..=MAX_WARNINGS => {
                out.note(&format!("warning: {}: {}", printable(&origin), printable(warning)));
            }
            number if number == MAX_WARNINGS + 1 => {
                out.note(
                    "warning: there are more; each bundle's manifest.json lists replaced values",
                );
            }
            _ => {}
        }
    }
    Ok(Input { origin, request: loaded.request })
}

impl Results {
    fn add(&mut self, origins: &[String], item: BatchItem) {
        let counts = &mut self.counts;
        counts.total += 1;
        match item.state() {
            State::Committed => counts.committed += 1,
            State::FellBack => counts.fell_back += 1,
            State::Refused => counts.refused += 1,
            _ => counts.failed += 1,
        }
        if item.state() != State::Committed {
            let index = usize::try_from(item.index).unwrap_or(usize::MAX);
            self.others.push((origins.get(index).cloned().unwrap_or_default(), item));
        }
    }

    fn summary(&self) -> String {
        let BatchCounts { committed, fell_back, refused, failed, .. } = self.counts;
        format!("{committed} committed, {fell_back} fell back, {refused} refused, {failed} failed")
    }

    /// Prints what did not reach its destination, and the numbers.
    fn print(&self, out: &mut Output) -> Result<(), CliError> {
        let rows: Vec<[String; 4]> = self
            .others
            .iter()
            .map(|(origin, item)| {
                let state = match item.state() {
                    State::FellBack => "fell back",
                    State::Refused => "refused",
                    _ => "failed",
                };
                let why = match item.message.as_str() {
                    "" => item.state_reason.clone(),
                    message => format!("{}: {message}", item.state_reason),
                };
                [printable(origin), printable(&item.export), state.to_owned(), printable(&why)]
            })
            .collect();
        let columns = [
            Column::new("").shrinks_to(16, 12),
            Column::new("").drops(1),
            Column::new(""),
            Column::new("").shrinks_to(24, 12),
        ];
        for line in Table::new(columns, out.width()).lines(&rows) {
            out.line(&line)?;
        }
        out.line(&format!(
            "{} of {} exported: {}",
            self.done(),
            self.counts.total,
            self.summary()
        ))?;
        Ok(())
    }

    fn done(&self) -> i32 {
        self.counts.committed + self.counts.fell_back
    }

    fn exit_status(&self) -> ExitStatus {
        let BatchCounts { fell_back, refused, failed, .. } = self.counts;
        match (refused + failed, fell_back) {
            (0, 0) => ExitStatus::Done,
            (0, _) => ExitStatus::FellBack,
            _ => ExitStatus::Failed,
        }
    }
}
