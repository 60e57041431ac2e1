/** Timeouts and retries. All times are in milliseconds. */
export interface Policy {
  /** How long to retry without a new event of an export or progress of a transfer. Default: 2 minutes. */
  progressTimeoutMs: number;
  /** How long a stream may be idle before it counts as lost; servers send a heartbeat at least every 15 s. Default: 45 s. */
  idleTimeoutMs: number;
  /** The first retry delay. It doubles with each attempt. Default: 200 ms. */
  minDelayMs: number;
  /** The longest retry delay. Default: 10 s. */
  maxDelayMs: number;
  /** Deadline of a unary call, including retries. Default: 30 s. */
  deadlineMs: number;
  /** Maximum number of attempts of a unary call while the server is UNAVAILABLE. Default: 4. */
  maxAttempts: number;
}

export const defaultPolicy: Readonly<Policy> = {
  progressTimeoutMs: 120_000,
  idleTimeoutMs: 45_000,
  minDelayMs: 200,
  maxDelayMs: 10_000,
  deadlineMs: 30_000,
  maxAttempts: 4,
};

/** The slowest supported connection. Deadlines are extended by the time that it needs for the sent bytes. */
const SLOWEST_BYTES_PER_SECOND = 32 * 1024;

/** Returns the deadline extension of a call that sends this many bytes. */
export function sendingTimeMs(sizeBytes: number): number {
  return (sizeBytes / SLOWEST_BYTES_PER_SECOND) * 1000;
}

/** Exponential backoff with jitter: each delay is multiplied by a random factor between 1 and 2. */
export class Backoff {
  private nextMs: number;

  constructor(private readonly policy: Policy) {
    this.nextMs = policy.minDelayMs;
  }

  /** Returns the next delay. */
  delayMs(): number {
    const delayMs = this.nextMs * (1 + Math.random());
    this.nextMs = Math.min(this.nextMs * 2, this.policy.maxDelayMs);
    return Math.min(delayMs, this.policy.maxDelayMs);
  }

  /** Restarts with the shortest delay. */
  reset(): void {
    this.nextMs = this.policy.minDelayMs;
  }
}

/** Waits. Rejects if the signal is aborted. */
export function sleep(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const end = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", end);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", end, { once: true });
  });
}

/** Returns the promise's value, or rejects with the error of `expired` after the timeout. */
export async function withTimeout<T>(timeoutMs: number, promise: Promise<T>, expired: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(expired()), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
