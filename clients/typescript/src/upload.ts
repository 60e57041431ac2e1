import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import type { CallSettings, Calls } from "./calls.js";
import { ClientReason, lost, protocolError, TaraExportError } from "./error.js";
import {
  type Upload,
  type UploadDocumentRequest,
  UploadDocumentRequestSchema,
} from "./gen/tara/export/v1/upload_pb.js";
import { newUuid } from "./ids.js";
import { checkUpload } from "./names.js";
import { Patience } from "./patience.js";
import { sendingTimeMs, within } from "./policy.js";
import { type ByteSource, type Content, digestOf, pieces, sourceOf } from "./source.js";

/** How far a document is on its way. */
export interface UploadProgress {
  doneBytes: number;
  sizeBytes: number;
}

/** A document that is at the server. */
export interface UploadedDocument {
  /** uploads/{upload_id}. */
  name: string;
  sizeBytes: number;
  /** 64 lower-case hexadecimal digits. */
  sha256: string;
}

/**
 * Sends a document and goes on where a lost connection left off, also that of an earlier process: the
 * same content is the same upload as long as the server keeps it. Yields how far it is, and returns
 * what StartExport is to name.
 */
export async function* uploadContent(
  calls: Calls,
  content: Content,
  { signal }: CallSettings,
): AsyncGenerator<UploadProgress, UploadedDocument> {
  const source = sourceOf(content);
  const { sizeBytes } = source;
  const sha256 = await digestOf(source, calls.sha256());
  const patience = new Patience(calls.policy, signal);
  const attempt = new UploadAttempt(calls, source, sha256, signal);
  let furthest = 0;
  for (;;) {
    try {
      for await (const doneBytes of attempt.run()) yield { doneBytes, sizeBytes };
      return { name: attempt.name, sizeBytes, sha256 };
    } catch (failure) {
      signal?.throwIfAborted();
      const error = TaraExportError.from(failure);
      if (attempt.begunAnew(error)) continue;
      if (!mayPass(error)) throw error;
      if (attempt.committedBytes > furthest) {
        furthest = attempt.committedBytes;
        patience.progressed();
      }
      await patience.wait(error, attempt.name || "an upload");
    }
  }
}

function mayPass(error: TaraExportError): boolean {
  return error.code === Code.Unavailable || error.reason === "OVERLOADED" || error.reason === "UPLOAD_OFFSET";
}

/** One document's way to the server, and what is known of it between attempts. */
class UploadAttempt {
  private requestId = newUuid();
  private upload: Upload | undefined;
  private hasSecondId = false;

  constructor(
    private readonly calls: Calls,
    private readonly source: ByteSource,
    private readonly sha256: string,
    private readonly signal: AbortSignal | undefined,
  ) {}

  get name(): string {
    return this.upload?.name ?? "";
  }

  get committedBytes(): number {
    return Number(this.upload?.committedSizeBytes ?? 0);
  }

  /** Brings the rest, and yields how many bytes are there. */
  async *run(): AsyncGenerator<number> {
    this.upload = await this.find();
    yield this.committedBytes;
    if (this.upload.sha256 === "") {
      if (this.calls.uploads === "stream") yield* this.sendStream(this.upload);
      else yield* this.sendChunks(this.upload);
    }
    if (this.upload.sha256 === "") throw lost("the upload ended before the document did");
    if (this.upload.sha256 !== this.sha256) {
      const message = `the server has ${this.upload.sha256}, and the document is ${this.sha256}`;
      throw new TaraExportError(Code.DataLoss, message, { reason: ClientReason.DAMAGED });
    }
    yield this.source.sizeBytes;
  }

  /** Takes another upload where this one is of an earlier process or too old; once. */
  begunAnew(error: TaraExportError): boolean {
    const isGivenUp = ["UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED"].includes(error.reason ?? "");
    if (!isGivenUp || this.hasSecondId) return false;
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
    const made = await this.calls.unary((service, options) => service.createUpload(request, options), settings);
    return this.checked(made.upload);
  }

  /** The fast way: one stream. The connection takes a message when it has room for it. */
  private async *sendStream(upload: Upload): AsyncGenerator<number> {
    const cancel = new AbortController();
    const signal = this.signal ? AbortSignal.any([cancel.signal, this.signal]) : cancel.signal;
    let sentBytes = 0;
    let wake = () => {};
    const messages = this.messages(upload, (bytes) => {
      sentBytes = bytes;
      wake();
    });
    const call = this.calls.service.uploadDocument(messages, { signal, timeoutMs: 0 });
    // It may fail while nobody asks for progress.
    call.catch(() => {});
    try {
      for (;;) {
        const moved = new Promise<undefined>((resolve) => {
          wake = () => resolve(undefined);
        });
        const stalled = () => lost("the upload makes no headway");
        const answer = await within(this.calls.policy.patienceMs, Promise.race([call, moved]), stalled);
        if (answer) {
          this.upload = this.checked(answer.upload);
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
      // Everything is there, and the end was not said.
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

  /** The way of gRPC-Web: one chunk after the other. */
  private async *sendChunks(upload: Upload): AsyncGenerator<number> {
    const size = this.source.sizeBytes;
    do {
      const start = Number(this.upload?.committedSizeBytes ?? 0);
      const end = Math.min(start + upload.chunkSizeBytes, size);
      const data = await this.source.read(start, end);
      const chunk = { name: upload.name, offset: BigInt(start), data, finish: end === size };
      const deadlineMs = this.calls.policy.deadlineMs + sendingTimeMs(data.byteLength);
      const send = this.calls.unary(
        (service, options) => service.uploadChunk(chunk, options),
        this.settings(),
        deadlineMs,
      );
      this.upload = this.checked((await send).upload);
      if (this.committedBytes <= start && this.upload.sha256 === "") throw lost("a chunk brought no headway");
      yield this.committedBytes;
    } while (this.upload.sha256 === "");
  }

  private checked(upload: Upload | undefined): Upload {
    if (!upload) throw protocolError("an answer without an upload");
    checkUpload(upload, this.name, this.source.sizeBytes);
    return upload;
  }

  private settings(): CallSettings {
    return this.signal ? { signal: this.signal } : {};
  }
}
