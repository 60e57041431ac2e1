import { type CallOptions, type Client, Code, createClient, type Transport } from "@connectrpc/connect";

import { TaraExportError } from "./error.js";
import { ExportService } from "./gen/tara/export/v1/service_pb.js";
import { Backoff, defaultPolicy, type Policy, sleep } from "./policy.js";
import { type Hasher, portableSha256 } from "./source.js";

/** How documents travel: in one stream, or, where there are no client streams (gRPC-Web), in chunks. */
export type UploadWay = "stream" | "chunks";

/** What a client is made of. */
export interface ClientOptions {
  /** How documents travel. Default: in chunks, which works everywhere. */
  uploads?: UploadWay;
  /** How patiently calls are made. */
  policy?: Partial<Policy>;
  /** Makes SHA-256 digests. Default: one in JavaScript. */
  sha256?: () => Hasher;
}

/** What a caller can say of a single call. */
export interface CallSettings {
  /** Gives the call up. An export that was accepted goes on all the same. */
  signal?: AbortSignal;
}

/** The service behind a transport, with deadlines, retries and this library's errors. */
export class Calls {
  readonly service: Client<typeof ExportService>;
  readonly policy: Readonly<Policy>;
  readonly uploads: UploadWay;
  readonly sha256: () => Hasher;

  constructor(transport: Transport, options: ClientOptions) {
    this.service = createClient(ExportService, transport);
    this.policy = { ...defaultPolicy, ...options.policy };
    this.uploads = options.uploads ?? "chunks";
    this.sha256 = options.sha256 ?? portableSha256;
  }

  /**
   * Makes a call that gives one answer. It is sent again only where the server is away (UNAVAILABLE);
   * every such call of this service can be repeated.
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
