import { Code } from "@connectrpc/connect";

import { ClientReason, TaraExportError } from "./error.js";
import { unclearResponse } from "./local-error.js";
import { Backoff, type Policy, sleep } from "./policy.js";

/** How often in sequence an error may leave open whether the connection was lost. */
const MAX_UNCLEAR_ERRORS = 4;

/** Waits between attempts until there is no progress within the timeout. */
export class RetryTimer {
  private readonly backoff: Backoff;
  private lastProgress = Date.now();
  private unclearErrors = 0;

  constructor(
    private readonly policy: Policy,
    private readonly signal: AbortSignal | undefined,
    private readonly onRetry?: ((error: TaraExportError) => void) | undefined,
  ) {
    this.backoff = new Backoff(policy);
  }

  /** Restarts the timeout and the backoff. */
  recordProgress(): void {
    this.lastProgress = Date.now();
    this.unclearErrors = 0;
    this.backoff.reset();
  }

  /** Time since the last progress. */
  get sinceProgressMs(): number {
    return Date.now() - this.lastProgress;
  }

  /** Waits before the next attempt. Throws if the timeout would end before that. */
  async wait(error: TaraExportError, subject: string): Promise<void> {
    this.unclearErrors = error.isUnclear ? this.unclearErrors + 1 : 0;
    if (this.unclearErrors >= MAX_UNCLEAR_ERRORS) throw unclearResponse(error);
    const delayMs = Math.max(this.backoff.delayMs(), error.retryDelayMs ?? 0);
    if (this.sinceProgressMs + delayMs > this.policy.progressTimeoutMs) {
      const seconds = Math.round(this.sinceProgressMs / 1000);
      const message = `no progress of ${subject} for ${seconds} s, it may still be running: ${error.message}`;
      const reason = ClientReason.LOST_CONTACT;
      throw new TaraExportError(Code.Unavailable, message, { reason, metadata: { name: subject }, cause: error });
    }
    this.onRetry?.(error);
    await sleep(delayMs, this.signal);
  }
}
