//! The table of limits for the requests of each method.

use super::super::wire_scan::BATCH_REQUEST;
use crate::upload::CHUNK_BYTES;

/// The largest message of methods without a row in the table, and the allowance for the other fields of a chunk.
pub(super) const SMALL_MESSAGE_BYTES: usize = 64 * 1024;
/// The most data in one message of an upload's stream.
const UPLOAD_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// How a method's requests are admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// One message of this type with a review: read and scanned before it is decoded.
    Review(&'static str),
    /// One message of at most this many bytes.
    One(usize),
    /// Any number of messages of at most this many bytes each.
    Many(usize),
    /// One chunk of a document, which needs an upload permit.
    Chunk(usize),
    /// A document in a stream of messages, which needs an upload permit. The handler ends it if it makes no
    /// progress.
    Document(usize),
}

const TABLE: &[(&str, Rule)] = &[
    (
        "/tara.export.v1.ExportService/StartExport",
        Rule::Review("tara.export.v1.StartExportRequest"),
    ),
    (
        "/tara.export.v1.ExportService/PreviewExport",
        Rule::Review("tara.export.v1.PreviewExportRequest"),
    ),
    ("/tara.export.v1.ExportService/BatchStartExports", Rule::Review(BATCH_REQUEST)),
    (
        "/tara.export.v1.ExportService/UploadDocument",
        Rule::Document(UPLOAD_MESSAGE_BYTES + SMALL_MESSAGE_BYTES),
    ),
    (
        "/tara.export.v1.ExportService/UploadChunk",
        Rule::Chunk(CHUNK_BYTES as usize + SMALL_MESSAGE_BYTES),
    ),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Rule::Many(SMALL_MESSAGE_BYTES)),
    (
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        Rule::Many(SMALL_MESSAGE_BYTES),
    ),
];

/// How requests to this path are admitted. A path without a row accepts one small message.
pub(super) fn rule(path: &str) -> Rule {
    let row = TABLE.iter().find(|(method, _)| *method == path);
    row.map_or(Rule::One(SMALL_MESSAGE_BYTES), |(_, rule)| *rule)
}

/// Whether responses of the method at this path may be compressed. Not an archive, whose files are compressed, and not a
/// link, whose size must not depend on the relation between its secret and the caller's text.
pub(super) fn is_compressible(path: &str) -> bool {
    !matches!(
        path,
        "/tara.export.v1.ExportService/DownloadBundle"
            | "/tara.export.v1.ExportService/CreateDownloadLink"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;

    #[test]
    fn only_streaming_methods_accept_many_messages() {
        let sets = [
            crate::proto::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut rows = 0;
        for file in sets.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file) {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let is_stream = matches!(rule(&path), Rule::Many(_) | Rule::Document(_));
                    assert_eq!(is_stream, method.client_streaming(), "{path}");
                    rows += usize::from(TABLE.iter().any(|(row, _)| *row == path));
                    if let Rule::Review(message) = rule(&path) {
                        assert_eq!(format!(".{message}"), method.input_type());
                    }
                }
            }
        }
        assert_eq!(rows, TABLE.len(), "a row belongs to a method that is not served");
    }
}
