//! Converts the requests that jobs get from a source: as those of a batch, but each by itself.

use std::{collections::HashMap, sync::LazyLock};

use async_trait::async_trait;
use bytes::Bytes;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use tara_export_notify::AllowedRecipients;
use tonic::Status;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{
    admission::scratch_bytes,
    convert::start_request,
    decoding::{decode, estimated_memory_bytes, in_background},
    plain_http::{JsonError, message_from_json},
    status::describe,
    wire_scan::{BatchScan, REQUEST, scan},
};
use crate::{
    export::{Engine, RequestMemory, StartError},
    jobs::{ConvertRequests, ConvertedRequest, ConvertedRequests, PulledRequest},
    notifications::Notifications,
    proto::{self, FILE_DESCRIPTOR_SET},
};

/// The first size of the buffer of a message. It doubles until the message fits.
const FIRST_STEP_BYTES: usize = 64 * 1024;

static REQUEST_TYPE: LazyLock<Option<MessageDescriptor>> = LazyLock::new(|| {
    DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok()?.get_message_by_name(REQUEST)
});

/// Converts requests of a source.
#[derive(Debug, Clone)]
pub struct PulledRequests {
    engine: Engine,
    notifications: Option<Notifications>,
    recipients: AllowedRecipients,
}

impl PulledRequests {
    /// Converts requests for this engine, with the rules for addresses that callers have too.
    pub fn new(
        engine: Engine,
        notifications: Option<Notifications>,
        recipients: AllowedRecipients,
    ) -> Self {
        Self { engine, notifications, recipients }
    }

    fn allowed(&self) -> AllowedRecipients {
        let accepts = self.notifications.as_ref().is_some_and(Notifications::accepts_recipients);
        if accepts { self.recipients.clone() } else { AllowedRecipients::default() }
    }

    /// The message of a text, with memory for it. The inner error is a fault of the text.
    async fn message(
        &self,
        request: &PulledRequest,
        used_bytes: u64,
        memory: &mut RequestMemory,
    ) -> Result<Result<Bytes, String>, String> {
        let Some(message_type) = REQUEST_TYPE.clone() else {
            return Err("the descriptors of the API are damaged".to_owned());
        };
        let limit = usize::try_from(self.engine.admission().request_size_bytes());
        let limit = limit.unwrap_or(usize::MAX);
        let used_bytes = used_bytes + scratch_bytes(&request.json) as u64;
        let mut capacity = request.json.len().max(FIRST_STEP_BYTES).min(limit);
        loop {
            grow(memory, used_bytes + capacity as u64).await?;
            let (message_type, json) = (message_type.clone(), request.json.clone());
            let convert = move || Ok(message_from_json(&message_type, &json, capacity));
            let converting =
                in_background(&self.engine, estimated_memory_bytes(request.json.len()), convert);
            match converting.await.map_err(|status| status.message().to_owned())? {
                Ok(message) => return Ok(Ok(message.into())),
                Err(JsonError::TooLarge) if capacity < limit => {
                    capacity = capacity.saturating_mul(2).min(limit);
                }
                Err(JsonError::TooLarge) => {
                    return Ok(Err(format!("it has more than {limit} bytes (MAX_REQUEST_SIZE)")));
                }
                Err(JsonError::Invalid { field, fault, line, column }) => {
                    let (first_line, first_column) = request.position;
                    let column = if line == 1 { first_column - 1 + column } else { column };
                    let line = first_line + line.saturating_sub(1);
                    let field = if field.is_empty() { field } else { format!("{field}: ") };
                    return Ok(Err(format!("{field}{fault} at line {line} column {column}")));
                }
            }
        }
    }
}

#[async_trait]
impl ConvertRequests for PulledRequests {
    async fn convert(
        &self,
        requests: Vec<PulledRequest>,
        namespace: Uuid,
        mut memory: RequestMemory,
    ) -> Result<ConvertedRequests, String> {
        let mut invalid: Vec<(usize, String)> = Vec::new();
        let mut messages: Vec<(usize, Bytes)> = Vec::new();
        let mut total = BatchScan::default();
        let mut used_bytes: u64 = requests.iter().map(|request| request.json.len() as u64).sum();
        for request in &requests {
            let index = request.index;
            let refuse = |fault: String| (index, format!("requests[{index}]: {fault}"));
            let message = match self.message(request, used_bytes, &mut memory).await? {
                Ok(message) => message,
                Err(fault) => {
                    invalid.push(refuse(fault));
                    continue;
                }
            };
            match scan(REQUEST, &message) {
                Ok(scanned) => {
                    total.add(scanned);
                    used_bytes += message.len() as u64;
                    messages.push((index, message));
                }
                Err(error) => {
                    invalid.push(refuse(faults(&Status::from(error))));
                }
            }
        }
        let scan = total.into_scan();
        let bytes =
            used_bytes.saturating_add(scan.decoded_bytes).saturating_add(scan.rendered_bytes);
        grow(&mut memory, bytes).await?;
        memory.shrink_to(bytes);
        let permit = memory.into_permit().await.map_err(|error| error.to_string())?;
        let allowed = self.allowed();
        let convert = move || Ok(converted(messages, namespace, &allowed));
        let converting = in_background(&self.engine, permit.bytes(), convert);
        let (valid, more) = converting.await.map_err(|status| status.message().to_owned())?;
        invalid.extend(more);
        invalid.sort_by_key(|(index, _)| *index);
        Ok(ConvertedRequests { valid, invalid, permit })
    }

    fn describe(&self) -> fn(StartError) -> (String, String) {
        describe
    }
}

async fn grow(memory: &mut RequestMemory, bytes: u64) -> Result<(), String> {
    let grown = memory.grow_to(bytes).await;
    grown.map_err(|error| format!("there is no memory for the page; lower \"limit\": {error}"))
}

/// The valid requests, and the faults of the others.
fn converted(
    messages: Vec<(usize, Bytes)>,
    namespace: Uuid,
    allowed: &AllowedRecipients,
) -> (Vec<ConvertedRequest>, Vec<(usize, String)>) {
    let (mut valid, mut invalid) = (Vec::new(), Vec::new());
    let mut first_uses: HashMap<Uuid, usize> = HashMap::new();
    for (index, message) in messages {
        let found = convert_one(message, namespace, allowed).and_then(
            |(request_id, session_id, content)| match first_uses.get(&request_id) {
                Some(first) => Err(format!("its id is that of requests[{first}] as well")),
                None => {
                    first_uses.insert(request_id, index);
                    Ok(ConvertedRequest { index, request_id, session_id, content })
                }
            },
        );
        match found {
            Ok(request) => valid.push(request),
            Err(fault) => invalid.push((index, format!("requests[{index}]: {fault}"))),
        }
    }
    (valid, invalid)
}

/// Every field of a refused request with its fault.
fn faults(status: &Status) -> String {
    let violations = status.get_details_bad_request().map(|found| found.field_violations);
    let texts = violations.unwrap_or_default().into_iter().map(|violation| {
        match violation.field.as_str() {
            "" => violation.description,
            field => format!("{field}: {}", violation.description),
        }
    });
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() { status.message().to_owned() } else { texts.join(", ") }
}

fn convert_one(
    message: Bytes,
    namespace: Uuid,
    allowed: &AllowedRecipients,
) -> Result<(Uuid, String, crate::export::RequestedContent), String> {
    let request: proto::StartExportRequest = decode(message).map_err(|status| faults(&status))?;
    let session_id =
        request.review.as_ref().map(|review| review.session_id.clone()).unwrap_or_default();
    let started = start_request(request, allowed).map_err(|status| faults(&status))?;
    let request_id = match started.request_id {
        Some(request_id) => request_id,
        None if session_id.is_empty() => {
            return Err("request_id: is required, because review.session_id is empty".to_owned());
        }
        None => Uuid::new_v5(&namespace, session_id.as_bytes()),
    };
    Ok((request_id, session_id, started.content))
}
