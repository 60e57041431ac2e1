/**
 * The client over any connect-es transport. `tara-export/node` and `tara-export/web` include a transport.
 */
export { create, fromJson, isMessage, type JsonValue, toJson } from "@bufbuild/protobuf";
export { Code } from "@connectrpc/connect";
export type { CallSettings, ClientOptions, FollowSettings, HashProgress, UploadMode } from "./calls.js";
export { Client, type ListEventsSettings, type ListSettings, type TransferSettings } from "./client.js";
export type { ArtifactDownload, BundleDownload } from "./download.js";
export { ClientReason, type FieldViolation, TaraExportError } from "./error.js";
export * from "./gen/tara/export/v1/automation_pb.js";
export * from "./gen/tara/export/v1/batch_pb.js";
export * from "./gen/tara/export/v1/export_pb.js";
export * from "./gen/tara/export/v1/report_pb.js";
export * from "./gen/tara/export/v1/review_pb.js";
export * from "./gen/tara/export/v1/service_pb.js";
export * from "./gen/tara/export/v1/upload_pb.js";
export { newUuid } from "./ids.js";
export { fileNameViolation } from "./names.js";
export type { Policy } from "./policy.js";
export { previewRequestOf } from "./preview.js";
export { printable } from "./printable.js";
export { describeReplacement, type ReplacementReason, sendableReview } from "./replaced.js";
export type { DocumentInput, DocumentProgress, ExportRequest } from "./request.js";
export { type ExportResult, ExportRun, type ExportUpdate, failureOf, resultOf } from "./run.js";
export { type ByteSource, type Content, type Hasher, portableSha256 } from "./source.js";
export type { Token, TokenOptions } from "./token.js";
export type { UploadedDocument, UploadProgress } from "./upload.js";
