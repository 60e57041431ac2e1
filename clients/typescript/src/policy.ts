/** How patiently calls are made, and lost ones taken up again. Times are in milliseconds. */
export interface Policy {
  /** Give up after this long without news of an export or headway of an upload. Default: 2 minutes. */
  patienceMs: number;
  /** Take a stream for lost when it says nothing for this long; servers send a heartbeat at least every 15 s. Default: 45 s. */
  silenceMs: number;
  /** The first wait before trying again; each further one is about twice as long. Default: 200 ms. */
  minDelayMs: number;
  /** The longest such wait. Default: 10 s. */
  maxDelayMs: number;
  /** How long a call that gives one answer may take. Default: 30 s. */
  deadlineMs: number;
  /** How often such a call is sent at most, while the answer is UNAVAILABLE. Default: 4. */
  maxAttempts: number;
}

export const defaultPolicy: Readonly<Policy> = {
  patienceMs: 120_000,
  silenceMs: 45_000,
  minDelayMs: 200,
  maxDelayMs: 10_000,
  deadlineMs: 30_000,
  maxAttempts: 4,
};

/** The slowest line that is waited for: what is sent may take a second more for each of these bytes. */
const SLOWEST_BYTES_PER_SECOND = 32 * 1024;

/** How much longer than usual a call may take that sends so many bytes. */
export function sendingTimeMs(sizeBytes: number): number {
  return (sizeBytes / SLOWEST_BYTES_PER_SECOND) * 1000;
}

/** Growing waits, each somewhere between its length and twice that, so that clients don't come back all at once. */
export class Backoff {
  private nextMs: number;

  constructor(private readonly policy: Policy) {
    this.nextMs = policy.minDelayMs;
  }

  /** The next wait. */
  delayMs(): number {
    const delayMs = this.nextMs * (1 + Math.random());
    this.nextMs = Math.min(this.nextMs * 2, this.policy.maxDelayMs);
    return Math.min(delayMs, this.policy.maxDelayMs);
  }

  /** Begins with the shortest wait again. */
  reset(): void {
    this.nextMs = this.policy.minDelayMs;
  }
}

/** Waits, unless the signal ends the wait. */
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

/** The promise's value, or what `expired` throws when that takes too long. */
export async function within<T>(limitMs: number, promise: Promise<T>, expired: () => Error): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(expired()), limitMs);
  });
  try {
    return await Promise.race([promise, limit]);
  } finally {
    clearTimeout(timer);
  }
}
