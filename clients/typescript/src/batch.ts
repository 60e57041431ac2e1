import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import type { CallSettings, Calls } from "./calls.js";
import { connectionLost, protocolError, TaraExportError } from "./error.js";
import { type Batch, BatchItem_State, type WatchBatchResponse } from "./gen/tara/export/v1/batch_pb.js";
import { type BatchStartExportsRequest, BatchStartExportsRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { newUuid } from "./ids.js";
import { checkBatch, checkBatchStep } from "./names.js";
import { sendingTimeMs, withTimeout } from "./policy.js";
import { RetryTimer } from "./retry-timer.js";

/** The time that a server may take to accept a batch, for each request. */
const ACCEPT_TIME_MS = 200;

/** Starts a batch and follows it. Generates its id if it is empty. */
export function exportBatch(
  calls: Calls,
  init: MessageInitShape<typeof BatchStartExportsRequestSchema>,
  settings: CallSettings,
): AsyncGenerator<WatchBatchResponse, void, undefined> {
  const request = create(BatchStartExportsRequestSchema, init);
  request.batchId ||= newUuid();
  return new BatchFollower(calls, `batches/${request.batchId}`, request, settings).steps();
}

/** Follows a batch that was started earlier. */
export function watchBatch(
  calls: Calls,
  name: string,
  settings: CallSettings,
): AsyncGenerator<WatchBatchResponse, void, undefined> {
  return new BatchFollower(calls, name, undefined, settings).steps();
}

/** Follows one batch until every item has ended, over one or more streams. */
class BatchFollower {
  private isStarting: boolean;
  private runId = "";
  private sequence = 0n;
  private readonly seen = new Set<number>();
  private notAccepted: number | undefined;
  private readonly retryTimer: RetryTimer;
  private readonly signal: AbortSignal | undefined;

  /** `request` is sent if the server does not know the batch; absent when only watching. */
  constructor(
    private readonly calls: Calls,
    private readonly name: string,
    private readonly request: BatchStartExportsRequest | undefined,
    settings: CallSettings,
  ) {
    this.isStarting = request !== undefined;
    this.signal = settings.signal;
    this.retryTimer = new RetryTimer(calls.policy, settings.signal);
  }

  /** Yields each new step, the last of which is `ended`. */
  async *steps(): AsyncGenerator<WatchBatchResponse, void, undefined> {
    for (;;) {
      const cancel = new AbortController();
      try {
        this.signal?.throwIfAborted();
        if (this.isStarting && this.request) await this.start(this.request);
        this.isStarting = false;
        const signal = this.signal ? AbortSignal.any([cancel.signal, this.signal]) : cancel.signal;
        const watch = { name: this.name, runId: this.runId, afterSequence: this.sequence };
        const options = { signal, timeoutMs: 0 };
        const stream = this.calls.stream((service, more) => service.watchBatch(watch, more), options);
        for (;;) {
          const item = await withTimeout(this.calls.policy.idleTimeoutMs, stream.next(), () =>
            connectionLost("no message from the server within the idle timeout"),
          );
          if (item.done) throw connectionLost("the stream ended before the batch");
          if (!this.isNew(item.value)) continue;
          yield item.value;
          if (item.value.event.case === "ended") return;
        }
      } catch (failure) {
        this.signal?.throwIfAborted();
        await this.recover(await this.calls.failure(failure));
      } finally {
        cancel.abort();
      }
    }
  }

  private isNew(step: WatchBatchResponse): boolean {
    checkBatchStep(step, this.name);
    this.runId = step.runId;
    this.sequence = step.sequence;
    this.retryTimer.recordProgress();
    if (step.event.case !== "item") return step.event.case !== undefined;
    const { index } = step.event.value;
    return !this.seen.has(index) && this.seen.add(index) !== undefined;
  }

  /** Sends the batch. Throws if it has to be sent again. */
  private async start(request: BatchStartExportsRequest): Promise<void> {
    const sizeBytes = toBinary(BatchStartExportsRequestSchema, request).byteLength;
    const limitMs =
      this.calls.policy.idleTimeoutMs + sendingTimeMs(sizeBytes) + ACCEPT_TIME_MS * request.requests.length;
    const settings = this.signal ? { signal: this.signal } : {};
    const { batch } = await this.calls.unary(
      (service, options) => service.batchStartExports(request, options),
      settings,
      limitMs,
      1,
    );
    if (!batch) throw protocolError("BatchStartExports response without a batch");
    checkBatch(batch, this.name);
    const missing = batch.items.filter((item) => item.state === BatchItem_State.NOT_ACCEPTED);
    const [first] = missing;
    if (!first) return;
    if (this.notAccepted === undefined || missing.length < this.notAccepted) {
      this.notAccepted = missing.length;
      this.retryTimer.recordProgress();
    }
    const message = `${missing.length} items were not accepted, one because ${first.message}`;
    throw new TaraExportError(Code.Unavailable, message, { reason: first.stateReason });
  }

  /** Prepares the next attempt, or throws if a retry cannot help. */
  private async recover(error: TaraExportError): Promise<void> {
    if (this.request && !this.isStarting && error.reason === "BATCH_NOT_HERE") {
      this.isStarting = true;
      return;
    }
    if (error.code !== Code.Unavailable) throw error;
    await this.retryTimer.wait(error, this.name);
  }
}

/** Reads a batch with its items. */
export async function getBatch(calls: Calls, name: string, settings: CallSettings): Promise<Batch> {
  const response = await calls.unary((service, options) => service.getBatch({ name }, options), settings);
  if (!response.batch) throw protocolError("GetBatch response without a batch");
  checkBatch(response.batch, name);
  return response.batch;
}
