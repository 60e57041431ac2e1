import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";

import type { Calls, FollowSettings } from "./calls.js";
import type { Destination, Fallback } from "./gen/tara/export/v1/export_pb.js";
import {
  type Document,
  type Document_Kind,
  DocumentSchema,
  type ReviewSchema,
} from "./gen/tara/export/v1/review_pb.js";
import { type StartExportRequest, StartExportRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { mapYielded } from "./generators.js";
import { MAX_MESSAGE_BYTES, requestTooLarge } from "./local-error.js";
import { sendable } from "./replaced.js";
import { type ByteSource, type Content, digestOf, sourceOf } from "./source.js";
import { type UploadProgress, uploadContent } from "./upload.js";

/** A document and the source of its bytes: exactly one of `content`, `upload` and `s3`. */
export interface DocumentInput {
  kind: Document_Kind;
  /** The caller's file name. Its extension is kept. */
  fileName?: string;
  mediaType?: string;
  /** The bytes. Large content is uploaded automatically before the request. */
  content?: Content;
  /** uploads/{upload_id} of a finished upload. */
  upload?: string;
  /** An S3 object, in a location that the server's operator allows. */
  s3?: { uri: string; versionId?: string };
}

/** The content to export: a StartExportRequest whose documents may also be {@link DocumentInput}s. */
export interface ExportRequest {
  /** A UUID. Retrying with the same id never creates a second bundle. Generated if absent. */
  requestId?: string | undefined;
  /** Values that a request cannot have are replaced and listed: see {@link sendableReview}. */
  review?: MessageInitShape<typeof ReviewSchema> | undefined;
  documents?: readonly (DocumentInput | MessageInitShape<typeof DocumentSchema>)[] | undefined;
  destination?: Destination | undefined;
  fallback?: Fallback | undefined;
  /** E-mail addresses that are notified of the events of the export, if the server accepts them. */
  notifyEmails?: readonly string[] | undefined;
}

/** Progress of a document that is uploaded before the request. */
export interface DocumentProgress extends UploadProgress {
  kind: Document_Kind;
  fileName: string;
}

/** Larger documents are uploaded before the request. Three such documents and a review fit into the default limit. */
const MAX_INLINE_BYTES = 8 * 1024 * 1024;
/** The same over gRPC-Web, which often passes proxies: three such documents and a review fit into 1 MiB. */
const MAX_INLINE_BYTES_OVER_WEB = 256 * 1024;

/** Builds the request message, and uploads documents that are too large for it. */
export async function* prepare(
  calls: Calls,
  request: ExportRequest & { requestId: string },
  settings: FollowSettings,
): AsyncGenerator<DocumentProgress, StartExportRequest> {
  const inputs = (request.documents ?? []).map(documentInput);
  const path = (index: number) => `documents[${index}].file_name`;
  const fileNames = new Map(inputs.map(({ fileName = "" }, index) => [path(index), fileName]));
  const { review, texts } = sendable(request.review, fileNames);
  const documents: Document[] = [];
  for (const [index, input] of inputs.entries()) {
    const fileName = texts.get(path(index)) ?? "";
    documents.push(yield* prepareDocument(calls, { ...input, fileName }, settings));
  }
  const message = create(StartExportRequestSchema, {
    requestId: request.requestId,
    ...(review && { review }),
    documents,
    ...(request.destination !== undefined && { destination: request.destination }),
    ...(request.fallback !== undefined && { fallback: request.fallback }),
    ...(request.notifyEmails !== undefined && { notifyEmails: [...request.notifyEmails] }),
  });
  // Report an encoding error to the caller now; later it would look like a lost connection.
  const sizeBytes = toBinary(StartExportRequestSchema, message).byteLength;
  if (sizeBytes > MAX_MESSAGE_BYTES) throw requestTooLarge(sizeBytes);
  return message;
}

async function* prepareDocument(
  calls: Calls,
  { content, kind, fileName = "", mediaType = "", upload, s3, sha256 = "" }: DocumentInput & { sha256?: string },
  settings: FollowSettings,
): AsyncGenerator<DocumentProgress, Document> {
  const described = { kind, fileName, mediaType, sha256 };
  if (content !== undefined) {
    const source = sourceOf(content);
    const maxInlineBytes = calls.uploads === "stream" ? MAX_INLINE_BYTES : MAX_INLINE_BYTES_OVER_WEB;
    if (source.sizeBytes <= maxInlineBytes) return await inline(calls, described, source);
    const sending = uploadContent(calls, source, settings, fileName);
    const uploaded = yield* mapYielded(sending, (progress) => ({ kind, fileName, ...progress }));
    const named = { case: "upload", value: uploaded.name } as const;
    return create(DocumentSchema, { ...described, sha256: sha256 || uploaded.sha256, source: named });
  }
  if (upload !== undefined) return create(DocumentSchema, { ...described, source: { case: "upload", value: upload } });
  if (s3 !== undefined) return create(DocumentSchema, { ...described, source: { case: "s3", value: s3 } });
  // The server reports the missing source.
  return create(DocumentSchema, described);
}

async function inline(
  calls: Calls,
  described: { kind: Document_Kind; fileName: string; mediaType: string; sha256: string },
  source: ByteSource,
): Promise<Document> {
  const value = await source.read(0, source.sizeBytes);
  // Lets the server detect corruption in transit.
  const sha256 = described.sha256 || (await digestOf(sourceOf(value), calls.sha256()));
  return create(DocumentSchema, { ...described, sha256, source: { case: "content", value } });
}

/** Converts a document message to the form of a document input. */
export function documentInput(
  given: DocumentInput | MessageInitShape<typeof DocumentSchema>,
): DocumentInput & { sha256?: string } {
  if ("content" in given || "upload" in given || "s3" in given) return given;
  const { kind, fileName, mediaType, sha256, source } = create(
    DocumentSchema,
    given as MessageInitShape<typeof DocumentSchema>,
  );
  const described = { kind, fileName, mediaType, sha256 };
  switch (source.case) {
    case "content":
      return { ...described, content: source.value };
    case "upload":
      return { ...described, upload: source.value };
    case "s3":
      return { ...described, s3: source.value };
    default:
      return described;
  }
}
