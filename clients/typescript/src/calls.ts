import { type CallOptions, type Client, Code, createClient, type Transport } from "@connectrpc/connect";

import { TaraExportError } from "./error.js";
import { AutomationService } from "./gen/tara/export/v1/automation_pb.js";
import { ExportService } from "./gen/tara/export/v1/service_pb.js";
import { unclearResponse } from "./local-error.js";
import { Backoff, defaultPolicy, type Policy, sleep } from "./policy.js";
import { type Hasher, portableSha256 } from "./source.js";
import { Authorization, type TokenOptions, throwOwn } from "./token.js";

/** The values of this header that a page can send to another origin without a preflight (CORS). */
const ACCEPT_LANGUAGE = /^[0-9A-Za-z *,\-.;=]{1,128}$/;

/** How documents are uploaded: in one stream, or in chunks where client streams are not available (gRPC-Web). */
export type UploadMode = "stream" | "chunks";

/** Options of a client. A client on a custom transport sends the token to every address. */
export interface ClientOptions extends TokenOptions {
  /** How documents are uploaded. Default: in chunks, which works with every transport. */
  uploads?: UploadMode;
  /** Timeouts and retries. */
  policy?: Partial<Policy>;
  /** Creates SHA-256 hashers. Default: an implementation in JavaScript. */
  sha256?: () => Hasher;
  /**
   * The languages of the user, best first, as in the header `accept-language` of every call: `de-CH, fr;q=0.8`. A
   * function is called before every call. A value with other characters than this header can have is not sent.
   */
  language?: string | (() => string | undefined) | undefined;
  /**
   * Finds the cause of a failed connection, such as TLS.
   * @internal
   */
  explain?: ((error: TaraExportError) => Promise<TaraExportError>) | undefined;
}

/** Options of an export or an upload. */
export interface FollowSettings extends CallSettings {
  /** Called before a lost connection is retried. The next update shows that the connection is back. */
  onRetry?: ((error: TaraExportError) => void) | undefined;
  /** Called while a large document is read for its digest, before it is uploaded. */
  onHash?: ((progress: HashProgress) => void) | undefined;
}

/** Progress of reading a document for its digest. */
export interface HashProgress {
  /** The document's name in the request; empty for an upload without a request. */
  fileName: string;
  doneBytes: number;
  sizeBytes: number;
}

/** Options of a single call. */
export interface CallSettings {
  /** Aborts the call. An accepted export continues. */
  signal?: AbortSignal;
}

/** The services over a transport, with deadlines, retries and this library's errors. */
export class Calls {
  readonly service: Client<typeof ExportService>;
  readonly automation: Client<typeof AutomationService>;
  readonly policy: Readonly<Policy>;
  readonly uploads: UploadMode;
  readonly sha256: () => Hasher;
  /** Whether a proxy refused a large request, so that documents are uploaded in the smallest chunks. */
  sendsSmallChunks = false;
  readonly authorization: Authorization;
  private readonly explain: NonNullable<ClientOptions["explain"]>;
  private readonly language: ClientOptions["language"];

  constructor(transport: Transport, options: ClientOptions) {
    this.service = createClient(ExportService, transport);
    this.automation = createClient(AutomationService, transport);
    this.policy = { ...defaultPolicy, ...options.policy };
    this.uploads = options.uploads ?? "chunks";
    this.sha256 = options.sha256 ?? portableSha256;
    this.authorization = new Authorization(options.token);
    this.explain = options.explain ?? (async (error) => error);
    this.language = options.language;
  }

  /** The headers of a call with this value of `authorization`, as an option of the call. */
  headersOf(authorization: string | undefined): { headers?: Record<string, string> } {
    const language = typeof this.language === "function" ? this.language() : this.language;
    const headers = {
      ...(authorization !== undefined && { authorization }),
      ...(language !== undefined && ACCEPT_LANGUAGE.test(language) && { "accept-language": language }),
    };
    return Object.keys(headers).length > 0 ? { headers } : {};
  }

  /** Converts any failure of a call to an error with its cause. Throws errors of the token's function unchanged. */
  async failure(failure: unknown): Promise<TaraExportError> {
    throwOwn(failure);
    return this.explain(TaraExportError.from(failure));
  }

  /** Whether another token may help after this error of a call without a response. */
  mayRefresh(failure: unknown): boolean {
    throwOwn(failure);
    return this.authorization.canRefresh && TaraExportError.from(failure).code === Code.Unauthenticated;
  }

  /** Makes a server-streaming call. Repeats it with another token if the server refuses the first. */
  async *stream<T>(
    call: (service: Client<typeof ExportService>, options: CallOptions) => AsyncIterable<T>,
    options: CallOptions,
  ): AsyncGenerator<T, void, undefined> {
    let token = await this.authorization.header();
    for (let isLast = false; ; isLast = true) {
      let hasResponse = false;
      try {
        for await (const message of call(this.service, { ...options, ...this.headersOf(token) })) {
          hasResponse = true;
          yield message;
        }
        return;
      } catch (failure) {
        if (isLast || hasResponse || !this.mayRefresh(failure)) throw failure;
        const refreshed = await this.authorization.header();
        if (refreshed === token) throw failure;
        token = refreshed;
      }
    }
  }

  /**
   * Makes a unary call and retries it only if the server is UNAVAILABLE. All unary calls of these services
   * are safe to repeat.
   */
  async unary<T>(
    call: (service: Client<typeof ExportService>, options: CallOptions) => Promise<T>,
    { signal, onRetry }: FollowSettings = {},
    deadlineMs = this.policy.deadlineMs,
    maxAttempts = this.policy.maxAttempts,
  ): Promise<T> {
    const backoff = new Backoff(this.policy);
    const end = Date.now() + deadlineMs;
    let token = await this.authorization.header();
    let hasRefreshed = false;
    for (let attempt = 1; ; attempt++) {
      try {
        const timeoutMs = Math.max(1, end - Date.now());
        return await call(this.service, { timeoutMs, ...this.headersOf(token), ...(signal && { signal }) });
      } catch (failure) {
        const error = await this.failure(failure);
        signal?.throwIfAborted();
        if (!hasRefreshed && this.mayRefresh(error)) {
          hasRefreshed = true;
          const refreshed = await this.authorization.header();
          if (refreshed === token) throw error;
          token = refreshed;
          continue;
        }
        const delayMs = Math.max(backoff.delayMs(), error.retryDelayMs ?? 0);
        const isLast = attempt >= maxAttempts || Date.now() + delayMs >= end;
        if (error.isUnclear && isLast) throw unclearResponse(error);
        if (error.code !== Code.Unavailable || isLast) throw error;
        onRetry?.(error);
        await sleep(delayMs, signal);
      }
    }
  }
}
