import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import type { Calls, FollowSettings } from "./calls.js";
import { ClientReason, connectionLost, protocolError, TaraExportError } from "./error.js";
import {
  type Upload,
  type UploadDocumentRequest,
  UploadDocumentRequestSchema,
} from "./gen/tara/export/v1/upload_pb.js";
import { newUuid, uuidOf } from "./ids.js";
import { checkUpload } from "./names.js";
import { sendingTimeMs, withTimeout } from "./policy.js";
import { RetryTimer } from "./retry-timer.js";
import { type ByteSource, type Content, digestOf, pieces, sourceOf } from "./source.js";

/** Progress of an upload. */
export interface UploadProgress {
  doneBytes: number;
  sizeBytes: number;
}

/** An uploaded document. */
export interface UploadedDocument {
  /** uploads/{upload_id}. */
  name: string;
  sizeBytes: number;
  /** 64 lower-case hexadecimal digits. */
  sha256: string;
}

/**
 * Uploads a document and resumes after a lost connection, even in another process: the same content is the
 * same upload for as long as the server keeps it. Yields the progress, and returns the upload that StartExport
 * can name.
 */
export async function* uploadContent(
  calls: Calls,
  content: Content,
  { signal, onRetry, onHash }: FollowSettings,
  fileName = "",
): AsyncGenerator<UploadProgress, UploadedDocument> {
  const source = sourceOf(content);
  const { sizeBytes } = source;
  const sha256 = await digestOf(source, calls.sha256(), (doneBytes) => {
    signal?.throwIfAborted();
    onHash?.({ fileName, doneBytes, sizeBytes });
  });
  const retryTimer = new RetryTimer(calls.policy, signal, onRetry);
  const attempt = new UploadAttempt(calls, source, sha256, { ...(signal && { signal }), onRetry });
  let maxCommittedBytes = 0;
  for (;;) {
    const sentSmallChunks = calls.sendsSmallChunks;
    try {
      for await (const doneBytes of attempt.run()) yield { doneBytes, sizeBytes };
      return { name: attempt.name, sizeBytes, sha256 };
    } catch (failure) {
      signal?.throwIfAborted();
      const error = await calls.failure(failure);
      if (attempt.restartsWithNewId(error)) continue;
      if (isTooLargeForProxy(failure)) calls.sendsSmallChunks = true;
      if (calls.sendsSmallChunks && !sentSmallChunks) continue;
      if (!isTransient(error)) throw error;
      if (attempt.committedBytes > maxCommittedBytes) {
        maxCommittedBytes = attempt.committedBytes;
        retryTimer.recordProgress();
      }
      await retryTimer.wait(error, attempt.name || "an upload");
    }
  }
}

/** Whether a proxy refused the size of the request: its answer has the HTTP status 413 instead of a gRPC status. */
export function isTooLargeForProxy(failure: unknown): boolean {
  for (let error = failure; error instanceof Error; error = error.cause) {
    if (error instanceof TaraExportError && error.metadata.http_status === "413") return true;
    if (error instanceof ConnectError && error.rawMessage === "HTTP 413") return true;
  }
  return false;
}

function isTransient(error: TaraExportError): boolean {
  return error.code === Code.Unavailable || error.reason === "OVERLOADED" || error.reason === "UPLOAD_OFFSET_MISMATCH";
}

/** The upload of one document, with the state between attempts. */
class UploadAttempt {
  /** Derived from the content, so that another process can resume the upload. */
  private requestId: string;
  private upload: Upload | undefined;
  private hasSecondId = false;
  private readonly signal: AbortSignal | undefined;

  constructor(
    private readonly calls: Calls,
    private readonly source: ByteSource,
    private readonly sha256: string,
    private readonly follow: Pick<FollowSettings, "signal" | "onRetry">,
  ) {
    this.signal = follow.signal;
    this.requestId = uuidOf(sha256);
  }

  get name(): string {
    return this.upload?.name ?? "";
  }

  get committedBytes(): number {
    return Number(this.upload?.committedSizeBytes ?? 0);
  }

  /** Sends the remaining bytes, and yields the number of uploaded bytes. */
  async *run(): AsyncGenerator<number> {
    this.upload = await this.find();
    yield this.committedBytes;
    if (this.upload.sha256 === "") {
      if (this.calls.uploads === "stream" && !this.calls.sendsSmallChunks) yield* this.sendStream(this.upload);
      else yield* this.sendChunks(this.upload);
    }
    if (this.upload.sha256 === "") throw connectionLost("the upload ended before the document");
    if (this.upload.sha256 !== this.sha256) {
      const message = `SHA-256 of the upload is ${this.upload.sha256} instead of ${this.sha256}`;
      throw new TaraExportError(Code.DataLoss, message, { reason: ClientReason.DAMAGED });
    }
    yield this.source.sizeBytes;
  }

  /** Switches to a new upload, once, if the existing one can no longer be used. Returns whether it did. */
  restartsWithNewId(error: TaraExportError): boolean {
    const isUnusable = ["UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED"].includes(error.reason ?? "");
    if (!isUnusable || this.hasSecondId) return false;
    this.hasSecondId = true;
    this.requestId = newUuid();
    this.upload = undefined;
    return true;
  }

  private async find(): Promise<Upload> {
    const settings = this.settings();
    if (this.upload) {
      const { name } = this.upload;
      const known = await this.calls.unary((service, options) => service.getUpload({ name }, options), settings);
      return this.checked(known.upload);
    }
    const request = { requestId: this.requestId, sizeBytes: BigInt(this.source.sizeBytes), sha256: this.sha256 };
    const created = await this.calls.unary((service, options) => service.createUpload(request, options), settings);
    return this.checked(created.upload);
  }

  /** Uploads in one stream, which is faster. The connection applies backpressure. */
  private async *sendStream(upload: Upload): AsyncGenerator<number> {
    const token = await this.calls.authorization.header();
    try {
      yield* this.sendOneStream(upload, token);
    } catch (failure) {
      if (!this.calls.mayRefresh(failure)) throw failure;
      const refreshed = await this.calls.authorization.header();
      if (refreshed === token) throw failure;
      yield* this.sendOneStream(upload, refreshed);
    }
  }

  private async *sendOneStream(upload: Upload, token: string | undefined): AsyncGenerator<number> {
    const cancel = new AbortController();
    const signal = this.signal ? AbortSignal.any([cancel.signal, this.signal]) : cancel.signal;
    let sentBytes = 0;
    let wake = () => {};
    const messages = this.messages(upload, (bytes) => {
      sentBytes = bytes;
      wake();
    });
    const call = this.calls.service.uploadDocument(messages, { signal, timeoutMs: 0, ...this.calls.headersOf(token) });
    // It may fail while the consumer is not waiting for progress.
    call.catch(() => {});
    try {
      for (;;) {
        const progressed = new Promise<undefined>((resolve) => {
          wake = () => resolve(undefined);
        });
        const stalled = () => connectionLost("no progress of the upload within the timeout");
        const response = await withTimeout(
          this.calls.policy.progressTimeoutMs,
          Promise.race([call, progressed]),
          stalled,
        );
        if (response) {
          this.upload = this.checked(response.upload);
          return;
        }
        yield sentBytes;
      }
    } finally {
      cancel.abort();
    }
  }

  private async *messages(upload: Upload, report: (sentBytes: number) => void): AsyncGenerator<UploadDocumentRequest> {
    const { name } = upload;
    let start = Number(upload.committedSizeBytes);
    if (start === this.source.sizeBytes) {
      // All bytes are uploaded, but the upload is not finished.
      yield create(UploadDocumentRequestSchema, { name, offset: BigInt(start), finish: true });
    }
    for await (const data of pieces(this.source, start)) {
      const end = start + data.byteLength;
      const finish = end === this.source.sizeBytes;
      yield create(UploadDocumentRequestSchema, { name, offset: BigInt(start), data, finish });
      start = end;
      report(end);
    }
  }

  /** Uploads in chunks, for gRPC-Web, and for proxies that limit the size of requests. */
  private async *sendChunks(upload: Upload): AsyncGenerator<number> {
    const size = this.source.sizeBytes;
    const chunkBytes = chunkSize(upload, this.calls.sendsSmallChunks);
    if (upload.chunkSizeBytes <= 0 && size > 0) throw protocolError("an upload without a chunk size");
    do {
      const start = Number(this.upload?.committedSizeBytes ?? 0);
      const end = Math.min(start + chunkBytes, size);
      const data = await this.source.read(start, end);
      const chunk = { name: upload.name, offset: BigInt(start), data, finish: end === size };
      const deadlineMs = this.calls.policy.deadlineMs + sendingTimeMs(data.byteLength);
      const isLarge = data.byteLength > upload.minChunkSizeBytes;
      const send = this.calls.unary(
        (service, options) => service.uploadChunk(chunk, options),
        this.settings(),
        deadlineMs,
        // Not repeated with the same size: a proxy may have refused it.
        isLarge ? 1 : this.calls.policy.maxAttempts,
      );
      const response = await send.catch((failure: unknown) => {
        // A page gets no status from a proxy of another origin (CORS), as for a lost connection.
        const mayBeTooLarge = isLarge && !TaraExportError.from(failure).isFromServer;
        if (mayBeTooLarge && !this.signal?.aborted) this.calls.sendsSmallChunks = true;
        throw failure;
      });
      this.upload = this.checked(response.upload);
      if (this.committedBytes <= start && this.upload.sha256 === "") throw connectionLost("a chunk made no progress");
      yield this.committedBytes;
    } while (this.upload.sha256 === "");
  }

  private checked(upload: Upload | undefined): Upload {
    if (!upload) throw protocolError("response without an upload");
    checkUpload(upload, this.name, this.source.sizeBytes);
    return upload;
  }

  private settings(): FollowSettings {
    return this.follow;
  }
}

/** The size of the next chunks, in the range that the server announces. Servers of earlier releases announce one size. */
export function chunkSize({ chunkSizeBytes, minChunkSizeBytes }: Upload, small: boolean): number {
  const hasRange = minChunkSizeBytes >= 1 && minChunkSizeBytes <= chunkSizeBytes;
  return small && hasRange ? minChunkSizeBytes : chunkSizeBytes;
}
