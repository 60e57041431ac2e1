import { Code } from "@connectrpc/connect";

import { ClientReason, TaraExportError } from "./error.js";
import { Backoff, type Policy, sleep } from "./policy.js";

/** Waits between attempts as long as there is headway now and then. */
export class Patience {
  private readonly backoff: Backoff;
  private lastProgress = Date.now();

  constructor(
    private readonly policy: Policy,
    private readonly signal: AbortSignal | undefined,
  ) {
    this.backoff = new Backoff(policy);
  }

  /** There was headway: begin with short waits again. */
  progressed(): void {
    this.lastProgress = Date.now();
    this.backoff.reset();
  }

  /** How long there was no headway. */
  get waitedMs(): number {
    return Date.now() - this.lastProgress;
  }

  /** Waits before the next attempt, or gives up where patience ends before that. */
  async wait(error: TaraExportError, of: string): Promise<void> {
    const delayMs = Math.max(this.backoff.delayMs(), error.retryDelayMs ?? 0);
    if (this.waitedMs + delayMs > this.policy.patienceMs) {
      const seconds = Math.round(this.waitedMs / 1000);
      const message = `no news of ${of} for ${seconds} s, it may still go on: ${error.message}`;
      const reason = ClientReason.LOST_CONTACT;
      throw new TaraExportError(Code.Unavailable, message, { reason, metadata: { name: of }, cause: error });
    }
    await sleep(delayMs, this.signal);
  }
}
