import { type CallOptions, type Client, Code, createClient, type Transport } from "@connectrpc/connect";

import { TaraExportError } from "./error.js";
import { ExportService } from "./gen/tara/export/v1/service_pb.js";
import { Backoff, defaultPolicy, type Policy, sleep } from "./policy.js";
import { type Hasher, portableSha256 } from "./source.js";

/** How documents are uploaded: in one stream, or in chunks where client streams are not available (gRPC-Web). */
export type UploadMode = "stream" | "chunks";

/** Options of a client. */
export interface ClientOptions {
  /** How documents are uploaded. Default: in chunks, which works with every transport. */
  uploads?: UploadMode;
  /** Timeouts and retries. */
  policy?: Partial<Policy>;
  /** Creates SHA-256 hashers. Default: an implementation in JavaScript. */
  sha256?: () => Hasher;
}

/** Options of a single call. */
export interface CallSettings {
  /** Aborts the call. An accepted export continues. */
  signal?: AbortSignal;
}

/** The service over a transport, with deadlines, retries and this library's errors. */
export class Calls {
  readonly service: Client<typeof ExportService>;
  readonly policy: Readonly<Policy>;
  readonly uploads: UploadMode;
  readonly sha256: () => Hasher;
  /** Whether a proxy refused a large request, so that documents are uploaded in the smallest chunks. */
  sendsSmallChunks = false;

  constructor(transport: Transport, options: ClientOptions) {
    this.service = createClient(ExportService, transport);
    this.policy = { ...defaultPolicy, ...options.policy };
    this.uploads = options.uploads ?? "chunks";
    this.sha256 = options.sha256 ?? portableSha256;
  }

  /**
   * Makes a unary call and retries it only if the server is UNAVAILABLE. All unary calls of this service
   * are safe to repeat.
   */
  async unary<T>(
    call: (service: Client<typeof ExportService>, options: CallOptions) => Promise<T>,
    { signal }: CallSettings = {},
    deadlineMs = this.policy.deadlineMs,
  ): Promise<T> {
    const backoff = new Backoff(this.policy);
    const end = Date.now() + deadlineMs;
    for (let attempt = 1; ; attempt++) {
      try {
        const timeoutMs = Math.max(1, end - Date.now());
        return await call(this.service, { timeoutMs, ...(signal && { signal }) });
      } catch (failure) {
        const error = TaraExportError.from(failure);
        signal?.throwIfAborted();
        const delayMs = Math.max(backoff.delayMs(), error.retryDelayMs ?? 0);
        const isLast = attempt >= this.policy.maxAttempts || Date.now() + delayMs >= end;
        if (error.code !== Code.Unavailable || isLast) throw error;
        await sleep(delayMs, signal);
      }
    }
  }
}
