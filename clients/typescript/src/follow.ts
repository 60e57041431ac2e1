import { toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import type { Calls, FollowSettings } from "./calls.js";
import { connectionLost, TaraExportError } from "./error.js";
import type { ExportEvent } from "./gen/tara/export/v1/export_pb.js";
import { type StartExportRequest, StartExportRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { checkEvent } from "./names.js";
import { sendingTimeMs, withTimeout } from "./policy.js";
import { RetryTimer } from "./retry-timer.js";
import { isRunEvent, SeenEvents } from "./seen.js";

/** An open stream of events. */
interface OpenStream {
  events: AsyncIterator<ExportEvent>;
  /** Timeout of the first event. */
  firstTimeoutMs: number;
  cancel: AbortController;
}

/** Follows one export until it ends, over one or more streams. */
export class Follower {
  private stream: OpenStream | undefined;
  private isStarting: boolean;
  private readonly seen = new SeenEvents();
  /** Progress is a new event of a run. */
  private readonly retryTimer: RetryTimer;
  private readonly signal: AbortSignal | undefined;
  /** Whether the request was already sent again because the export seemed abandoned. This happens once. */
  private hasStartedAgain = false;

  /** `request` is sent if the server does not know the export; absent when only watching. */
  constructor(
    private readonly calls: Calls,
    private readonly name: string,
    private readonly request: StartExportRequest | undefined,
    { signal, onRetry }: FollowSettings,
  ) {
    this.isStarting = request !== undefined;
    this.signal = signal;
    this.retryTimer = new RetryTimer(calls.policy, signal, onRetry);
  }

  /** Returns the next new event. */
  async next(): Promise<ExportEvent> {
    for (;;) {
      this.signal?.throwIfAborted();
      let event: ExportEvent;
      try {
        event = await this.read();
      } catch (failure) {
        this.close();
        this.signal?.throwIfAborted();
        await this.recover(await this.calls.failure(failure));
        continue;
      }
      checkEvent(event, this.name);
      if (!this.seen.isNew(event)) continue;
      if (isRunEvent(event)) {
        this.retryTimer.recordProgress();
      } else {
        this.startAgainIfAbandoned();
      }
      return event;
    }
  }

  /** Closes the open stream. The next call of `next` opens another. */
  close(): void {
    this.stream?.cancel.abort();
    this.stream = undefined;
  }

  /** Returns the code of the status that ends the stream after `failed`. */
  async finalCode(): Promise<Code | undefined> {
    try {
      await this.stream?.events.next();
      return undefined;
    } catch (failure) {
      const error = TaraExportError.from(failure);
      return error.isFromServer ? error.code : undefined;
    }
  }

  private async read(): Promise<ExportEvent> {
    const { idleTimeoutMs } = this.calls.policy;
    const isFirst = this.stream === undefined;
    this.stream ??= this.open();
    const limitMs = isFirst ? this.stream.firstTimeoutMs : idleTimeoutMs;
    const item = await withTimeout(limitMs, this.stream.events.next(), () =>
      connectionLost("no message from the server within the idle timeout"),
    );
    if (item.done) throw connectionLost("the stream ended before the export");
    // The server knows the export now.
    this.isStarting = false;
    return item.value;
  }

  private open(): OpenStream {
    const { idleTimeoutMs, progressTimeoutMs } = this.calls.policy;
    const cancel = new AbortController();
    const signal = this.signal ? AbortSignal.any([cancel.signal, this.signal]) : cancel.signal;
    // 0: no deadline for the stream, regardless of the transport's default.
    const options = { signal, timeoutMs: 0 };
    const { request } = this;
    if (this.isStarting && request) {
      const sizeBytes = toBinary(StartExportRequestSchema, request).byteLength;
      const events = this.calls.stream((service, more) => service.startExport(request, more), options);
      return { events, cancel, firstTimeoutMs: Math.max(progressTimeoutMs, idleTimeoutMs) + sendingTimeMs(sizeBytes) };
    }
    const watch = { name: this.name, ...this.seen.position() };
    const events = this.calls.stream((service, more) => service.watchExport(watch, more), options);
    return { events, cancel, firstTimeoutMs: idleTimeoutMs };
  }

  /** Prepares the next attempt, or throws if a retry cannot help. */
  private async recover(error: TaraExportError): Promise<void> {
    if (this.request && !this.isStarting && error.reason === "EXPORT_NOT_HERE") {
      this.isStarting = true;
      return;
    }
    // Not accepted: the store is down, and the caller allowed no fallback.
    const isRejected = this.isStarting && error.reason === "STORE_UNAVAILABLE";
    if (error.code !== Code.Unavailable || isRejected) throw error;
    await this.retryTimer.wait(error, this.name);
    this.isStarting = false;
  }

  /**
   * The server follows the export through the store and cannot see whether another replica is working on
   * it. Sends the request again after the progress timeout, so that this server finishes the export.
   */
  private startAgainIfAbandoned(): void {
    const isAbandoned = this.retryTimer.sinceProgressMs > this.calls.policy.progressTimeoutMs;
    if (isAbandoned && this.request && !this.hasStartedAgain) {
      this.hasStartedAgain = true;
      this.retryTimer.recordProgress();
      this.close();
      this.isStarting = true;
    }
  }
}
