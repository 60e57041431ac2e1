import { create, type JsonObject, type JsonValue, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import type { CallSettings, Calls } from "./calls.js";
import { ClientReason, TaraExportError } from "./error.js";
import type { Destination, Fallback } from "./gen/tara/export/v1/export_pb.js";
import {
  type Document,
  type Document_Kind,
  DocumentSchema,
  type Review,
  ReviewSchema,
} from "./gen/tara/export/v1/review_pb.js";
import { type StartExportRequest, StartExportRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { mapYielded } from "./generators.js";
import { type ByteSource, type Content, digestOf, sourceOf } from "./source.js";
import { type UploadProgress, uploadContent } from "./upload.js";

/** A document with where its bytes come from: exactly one of `content`, `upload` and `s3`. */
export interface DocumentInput {
  kind: Document_Kind;
  /** The caller's own file name, which gives the extension. */
  fileName?: string;
  mediaType?: string;
  /** The bytes. What is large goes ahead of the request by itself. */
  content?: Content;
  /** uploads/{upload_id} of an upload that is finished. */
  upload?: string;
  /** An object in S3, in a place that the server's operator allows. */
  s3?: { uri: string; versionId?: string };
}

/** What is to be exported: a StartExportRequest, whose documents may also be given as {@link DocumentInput}. */
export interface ExportRequest {
  /** A UUID, sent again when in doubt: the same one never makes a second bundle. Made here when absent. */
  requestId?: string | undefined;
  review?: MessageInitShape<typeof ReviewSchema> | undefined;
  documents?: readonly (DocumentInput | MessageInitShape<typeof DocumentSchema>)[] | undefined;
  destination?: Destination | undefined;
  fallback?: Fallback | undefined;
}

/** How far a document is that goes ahead of the request. */
export interface DocumentProgress extends UploadProgress {
  kind: Document_Kind;
  fileName: string;
}

/** What is larger is uploaded before the request: three documents and a review fit into what servers take by default. */
const LARGEST_INLINE_BYTES = 8 * 1024 * 1024;

/** Makes the message that is sent, and uploads what is too large for it. */
export async function* prepare(
  calls: Calls,
  request: ExportRequest & { requestId: string },
  settings: CallSettings,
): AsyncGenerator<DocumentProgress, StartExportRequest> {
  const review = request.review && create(ReviewSchema, request.review);
  if (review) refuseRounded(review);
  const documents: Document[] = [];
  for (const given of request.documents ?? []) {
    const input = documentInput(given);
    documents.push(yield* prepareDocument(calls, input, settings));
  }
  const message = create(StartExportRequestSchema, {
    requestId: request.requestId,
    ...(review && { review }),
    documents,
    ...(request.destination !== undefined && { destination: request.destination }),
    ...(request.fallback !== undefined && { fallback: request.fallback }),
  });
  // What can't be encoded is the caller's mistake; later it would look like a lost connection.
  toBinary(StartExportRequestSchema, message);
  return message;
}

async function* prepareDocument(
  calls: Calls,
  { content, kind, fileName = "", mediaType = "", upload, s3, sha256 = "" }: DocumentInput & { sha256?: string },
  settings: CallSettings,
): AsyncGenerator<DocumentProgress, Document> {
  const described = { kind, fileName, mediaType, sha256 };
  if (content !== undefined) {
    const source = sourceOf(content);
    if (source.sizeBytes <= LARGEST_INLINE_BYTES) return await inline(calls, described, source);
    const sending = uploadContent(calls, source, settings);
    const uploaded = yield* mapYielded(sending, (progress) => ({ kind, fileName, ...progress }));
    const named = { case: "upload", value: uploaded.name } as const;
    return create(DocumentSchema, { ...described, sha256: sha256 || uploaded.sha256, source: named });
  }
  if (upload !== undefined) return create(DocumentSchema, { ...described, source: { case: "upload", value: upload } });
  if (s3 !== undefined) return create(DocumentSchema, { ...described, source: { case: "s3", value: s3 } });
  // The server says what is missing.
  return create(DocumentSchema, described);
}

async function inline(
  calls: Calls,
  described: { kind: Document_Kind; fileName: string; mediaType: string; sha256: string },
  source: ByteSource,
): Promise<Document> {
  const value = await source.read(0, source.sizeBytes);
  // Lets the server notice what was damaged on the way.
  const sha256 = described.sha256 || (await digestOf(sourceOf(value), calls.sha256()));
  return create(DocumentSchema, { ...described, sha256, source: { case: "content", value } });
}

/** A document message with its source as a document that was given as input has it. */
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

/**
 * Refuses whole numbers beyond ±2^53 in free fields: JavaScript has rounded them, or the wire would.
 * From 1e21 on they are written with an exponent, and nobody takes them for exact.
 */
function refuseRounded(review: Review): void {
  const lists = ["activityLog", "chatHistory", "auditLogs", "activityTimeline"] as const;
  for (const list of lists) {
    review[list].forEach((entry, index) => {
      checkObject(entry, `review.${snake(list)}[${index}]`);
    });
  }
  checkObject(review.performanceMetrics ?? {}, "review.performance_metrics");
  for (const list of ["suggestions", "accepted", "rejected", "userCreated"] as const) {
    review[list].forEach((section, sectionIndex) => {
      section.items.forEach((item, index) => {
        const path = `review.${snake(list)}[${sectionIndex}].items[${index}].additional_fields`;
        checkObject(item.additionalFields ?? {}, path);
      });
    });
  }
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function checkObject(value: JsonObject, path: string): void {
  for (const [key, member] of Object.entries(value)) checkValue(member, `${path}.${key}`);
}

function checkValue(value: JsonValue, path: string): void {
  if (Array.isArray(value)) {
    value.forEach((member, index) => {
      checkValue(member, `${path}[${index}]`);
    });
  } else if (typeof value === "object" && value !== null) {
    checkObject(value, path);
  } else if (typeof value === "bigint" || (Number.isInteger(value) && isRounded(value as number))) {
    const description = `${value} can't be sent without rounding it: make it a string`;
    throw new TaraExportError(Code.InvalidArgument, `${path}: ${description}`, {
      reason: ClientReason.NOT_EXACT,
      fieldViolations: [{ field: path, description }],
    });
  }
}

function isRounded(value: number): boolean {
  return !Number.isSafeInteger(value) && Math.abs(value) < 1e21;
}
