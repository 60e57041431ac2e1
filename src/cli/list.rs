//! `list`: lists exports, newest first.

use clap::Args;
use tara_export_client::{
    Client,
    proto::{Export, ListExportsRequest},
    to_json,
};

use super::{
    CliError, ExitStatus, Output, ServerArguments,
    format::{Table, printable, printable_json, size, state, stored_in, time},
};

/// The largest page that a server returns.
const PAGE_SIZE: usize = 1000;

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListCommand {
    #[command(flatten)]
    #[allow(missing_docs, reason = "clap would use the comment as the command's help")]
    pub server: ServerArguments,
    /// Filter, such as 'document_name:"incident" AND state = STATE_COMMITTED'
    #[arg(long, value_name = "FILTER", default_value = "")]
    pub filter: String,
    /// Maximum number of exports; by default, all
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Print each page as one line of proto3 JSON
    #[arg(long)]
    pub json: bool,
}

impl ListCommand {
    /// Prints the exports page by page.
    ///
    /// # Errors
    /// If a call fails, for example because of an invalid filter.
    pub async fn run(self, client: Client, out: &mut Output) -> Result<ExitStatus, CliError> {
        let mut table = Table::new([false, false, false, false, true, false]);
        let mut head =
            Some(["ACCEPTED", "STATE", "STORED IN", "DOCUMENT", "SIZE", "NAME"].map(str::to_owned));
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut request = ListExportsRequest { filter: self.filter, ..Default::default() };
        while left > 0 && !out.is_closed() {
            request.page_size = left.min(PAGE_SIZE).try_into().unwrap_or_default();
            let page = client.list_page(request.clone()).await?;
            left = left.saturating_sub(page.exports.len());
            if self.json {
                out.line(&printable_json(&to_json(&page)))?;
            } else {
                // The heading is printed with the first row, so an empty list prints none.
                let head = if page.exports.is_empty() { None } else { head.take() };
                let rows: Vec<_> = head.into_iter().chain(page.exports.iter().map(row)).collect();
                for line in table.lines(&rows) {
                    out.line(&line)?;
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        if !self.json && head.is_some() {
            out.note("no exports");
        }
        Ok(ExitStatus::Done)
    }
}

fn row(export: &Export) -> [String; 6] {
    [
        time(export.accepted_time.as_ref()),
        state(export).to_owned(),
        stored_in(export).to_owned(),
        printable(&export.document_name),
        size(export.size_bytes),
        printable(&export.name),
    ]
}
