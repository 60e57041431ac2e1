import { toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import type { Calls } from "./calls.js";
import { lost, TaraExportError } from "./error.js";
import type { ExportEvent } from "./gen/tara/export/v1/export_pb.js";
import { type StartExportRequest, StartExportRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { checkEvent } from "./names.js";
import { Patience } from "./patience.js";
import { sendingTimeMs, within } from "./policy.js";
import { isOfARun, SeenEvents } from "./seen.js";

/** A stream of the server that is read until it ends or is given up. */
interface OpenStream {
  events: AsyncIterator<ExportEvent>;
  /** How long the first event may take. */
  firstWithinMs: number;
  cancel: AbortController;
}

/** Follows one export to its end, over as many streams as that takes. */
export class Follower {
  private stream: OpenStream | undefined;
  private isStarting: boolean;
  private readonly seen = new SeenEvents();
  /** Headway is a new event of a run. */
  private readonly patience: Patience;
  /** Whether the request was sent again because nobody seemed to work on it. Once is enough. */
  private hasStartedAgain = false;

  /** `request` is what to send where nothing is known of the export; absent when only watching. */
  constructor(
    private readonly calls: Calls,
    private readonly name: string,
    private readonly request: StartExportRequest | undefined,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.isStarting = request !== undefined;
    this.patience = new Patience(calls.policy, signal);
  }

  /** The next event that was not seen before. */
  async next(): Promise<ExportEvent> {
    for (;;) {
      this.signal?.throwIfAborted();
      let event: ExportEvent;
      try {
        event = await this.read();
      } catch (failure) {
        this.close();
        this.signal?.throwIfAborted();
        await this.recover(TaraExportError.from(failure));
        continue;
      }
      checkEvent(event, this.name);
      if (!this.seen.isNew(event)) continue;
      if (isOfARun(event)) {
        this.patience.progressed();
      } else {
        this.startAgainIfAbandoned();
      }
      return event;
    }
  }

  /** Ends the open stream. A later call of `next` attaches again. */
  close(): void {
    this.stream?.cancel.abort();
    this.stream = undefined;
  }

  /** The code of the status that ends the stream after `failed`. */
  async endingCode(): Promise<Code | undefined> {
    try {
      await this.stream?.events.next();
      return undefined;
    } catch (failure) {
      const error = TaraExportError.from(failure);
      return error.isAnswer ? error.code : undefined;
    }
  }

  private async read(): Promise<ExportEvent> {
    const { silenceMs } = this.calls.policy;
    const isFirst = this.stream === undefined;
    this.stream ??= this.open();
    const limitMs = isFirst ? this.stream.firstWithinMs : silenceMs;
    const item = await within(limitMs, this.stream.events.next(), () => lost("the server said nothing for too long"));
    if (item.done) throw lost("the stream ended before the export did");
    // From now on the server knows the export.
    this.isStarting = false;
    return item.value;
  }

  private open(): OpenStream {
    const { silenceMs, patienceMs } = this.calls.policy;
    const cancel = new AbortController();
    const signal = this.signal ? AbortSignal.any([cancel.signal, this.signal]) : cancel.signal;
    // 0: no deadline of the whole stream, whatever the transport's default is.
    const options = { signal, timeoutMs: 0 };
    if (this.isStarting && this.request) {
      const sizeBytes = toBinary(StartExportRequestSchema, this.request).byteLength;
      const events = this.calls.service.startExport(this.request, options)[Symbol.asyncIterator]();
      return { events, cancel, firstWithinMs: Math.max(patienceMs, silenceMs) + sendingTimeMs(sizeBytes) };
    }
    const watch = { name: this.name, ...this.seen.position() };
    const events = this.calls.service.watchExport(watch, options)[Symbol.asyncIterator]();
    return { events, cancel, firstWithinMs: silenceMs };
  }

  /** Makes ready for the next attempt, or throws where none would help. */
  private async recover(error: TaraExportError): Promise<void> {
    if (this.request && !this.isStarting && error.reason === "EXPORT_NOT_HERE") {
      this.isStarting = true;
      return;
    }
    // Not accepted: the store is down, and the caller did not want another.
    const isRefused = this.isStarting && error.reason === "STORE_UNAVAILABLE";
    if (error.code !== Code.Unavailable || isRefused) throw error;
    await this.patience.wait(error, this.name);
    this.isStarting = false;
  }

  /**
   * The server follows the export through the store and can't see whether anybody works on it. When
   * nobody finishes it for so long, sending the request again lets this server finish it.
   */
  private startAgainIfAbandoned(): void {
    const isAbandoned = this.patience.waitedMs > this.calls.policy.patienceMs;
    if (isAbandoned && this.request && !this.hasStartedAgain) {
      this.hasStartedAgain = true;
      this.patience.progressed();
      this.close();
      this.isStarting = true;
    }
  }
}
