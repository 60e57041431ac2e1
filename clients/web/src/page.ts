/** What the page, its tab and the other tabs do. */

/** Asks the user before the page is closed or reloaded, while the server needs the page. */
export class UnloadGuard {
  private readonly ask = (event: BeforeUnloadEvent) => event.preventDefault();

  set isOn(isOn: boolean) {
    if (isOn) window.addEventListener("beforeunload", this.ask);
    else window.removeEventListener("beforeunload", this.ask);
  }
}

/**
 * Shows other tabs of this browser which export a tab works on, with a lock that ends with the tab. Without Web Locks,
 * which need a secure page, other tabs do not know it.
 */
export class TabLock {
  private end = () => {};
  private ownName = "";

  /** Marks the export as the one that this tab works on, until `release`. */
  hold(reviewId: string, requestId: string): void {
    this.release();
    const waiting = new AbortController();
    const ended = new Promise<void>((resolve) => {
      this.end = () => {
        waiting.abort();
        resolve();
      };
    });
    this.ownName = lockName(reviewId, requestId);
    // If another tab has the lock, this one waits for it: one is enough.
    navigator.locks?.request(this.ownName, { signal: waiting.signal }, () => ended).catch(() => {});
  }

  release(): void {
    this.end();
    this.ownName = "";
  }

  /** The id of the export of this review that another tab works on. */
  async otherTab(reviewId: string): Promise<string | undefined> {
    const prefix = lockName(reviewId, "");
    try {
      const { held = [] } = (await navigator.locks?.query()) ?? {};
      const others = held.map(({ name = "" }) => name).filter((name) => name.startsWith(prefix));
      return others.find((name) => name !== this.ownName)?.slice(prefix.length);
    } catch {
      return undefined;
    }
  }
}

function lockName(reviewId: string, requestId: string): string {
  return `complete-review:${encodeURIComponent(reviewId)}:${requestId}`;
}

/** Waits, but not longer than until the device is online again, or the tab visible again. Rejects if aborted. */
export function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const listeners = new AbortController();
    const end = (settle: () => void) => () => {
      listeners.abort();
      clearTimeout(timer);
      settle();
    };
    const timer = setTimeout(end(resolve), delayMs);
    onReturn(end(resolve), listeners.signal);
    signal.addEventListener(
      "abort",
      end(() => reject(signal.reason)),
      { signal: listeners.signal },
    );
  });
}

/** Calls the function when the device is online again, and when the tab is visible again, until the signal is aborted. */
export function onReturn(call: () => void, signal: AbortSignal): void {
  window.addEventListener("online", call, { signal });
  document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && call(), { signal });
}
