import {
  type Client,
  Code,
  Destination,
  type Export,
  Export_State,
  type ExportResult,
  type ExportUpdate,
  failureOf,
  resultOf,
  TaraExportError,
} from "tara-export/web";

import { pause } from "./page.js";
import type { ExportProgress } from "./progress.js";

/** After this time without an event, the state of the export is read: a proxy may keep its events back. */
const SILENCE_MS = 20_000;
/** The intervals at which the state of a provisional bundle is read. */
const FIRST_SYNC_CHECK_MS = 2_000;
const LAST_SYNC_CHECK_MS = 60_000;

/** The failure of an export, as reported by the server: there is no bundle. */
export class ExportFailedError extends Error {
  constructor(override readonly cause: TaraExportError) {
    super(cause.message);
  }
}

/** An export that the server cannot continue by itself. */
export class QuarantinedError extends Error {}

/** Whether this server does not know the export. */
export function isNotHere(error: unknown): boolean {
  return error instanceof TaraExportError && ["EXPORT_NOT_HERE", "EXPORT_NOT_FOUND"].includes(error.reason ?? "");
}

/** Follows one export until it ends: through its updates, and through its state if updates do not arrive. */
export class Following {
  private lastUpdate = performance.now();

  constructor(
    /** Without it, only the updates are followed. */
    private readonly client: Client | undefined,
    readonly name: string,
    private readonly progress: ExportProgress,
    /** Called after each change of the progress. */
    private readonly changed: () => void,
    /** Ends this. */
    private readonly signal: AbortSignal,
  ) {}

  /** Returns the bundle. Throws an {@link ExportFailedError} if there will be none. */
  async result(updates: AsyncIterable<ExportUpdate>): Promise<ExportResult> {
    return Promise.race([this.read(updates), this.readState()]);
  }

  private async read(first: AsyncIterable<ExportUpdate>): Promise<ExportResult> {
    for (let updates = first; ; ) {
      try {
        for await (const update of updates) {
          this.signal.throwIfAborted();
          this.lastUpdate = performance.now();
          this.progress.apply(update);
          const event = update.type === "event" ? update.event.event : undefined;
          if (event?.case === "completed" && event.value.export) {
            this.progress.isAccepted = true;
            this.changed();
            return resultOf(event.value.export);
          }
          if (event?.case === "failed") throw new ExportFailedError(failureOf(event.value));
          this.changed();
        }
        throw new TaraExportError(Code.Unavailable, "the updates ended before the export");
      } catch (error) {
        this.signal.throwIfAborted();
        const isLost = error instanceof TaraExportError && error.reason === "LOST_CONTACT";
        if (!isLost || !this.progress.isAccepted || !this.client) throw error;
        const result = await this.state().catch(() => {
          throw error;
        });
        if (result) return result;
        updates = this.client.watch(this.name, this.settings());
      }
    }
  }

  /** Settings of calls that follow the export. */
  settings() {
    const onRetry = () => {
      this.progress.isReconnecting = true;
      this.changed();
    };
    return { signal: this.signal, onRetry };
  }

  /** Reads the state of the export as long as there are no updates. */
  private async readState(): Promise<ExportResult> {
    for (;;) {
      await pause(SILENCE_MS, this.signal);
      const isSending = this.progress.hashing !== undefined || this.progress.uploading !== undefined;
      if (isSending || performance.now() - this.lastUpdate < SILENCE_MS / 2) continue;
      try {
        const result = await this.state();
        if (result) return result;
      } catch (error) {
        this.signal.throwIfAborted();
        if (error instanceof ExportFailedError || error instanceof QuarantinedError) throw error;
        // The server does not know the export yet, or cannot be reached: the updates report it.
      }
    }
  }

  /** Reads the state of the export, and returns the bundle if it is complete. */
  private async state(): Promise<ExportResult | undefined> {
    const known = await this.client?.getExport(this.name, { signal: this.signal });
    if (!known) return undefined;
    const result = resultOfState(known);
    this.progress.isAccepted = true;
    this.progress.isReconnecting = false;
    this.progress.isWithoutEvents = true;
    this.changed();
    return result;
  }
}

function resultOfState(known: Export): ExportResult | undefined {
  switch (known.state) {
    case Export_State.COMMITTED:
    case Export_State.FELL_BACK:
      return resultOf(known);
    case Export_State.FAILED: {
      const { stateReason: reason } = known;
      throw new ExportFailedError(new TaraExportError(Code.Aborted, reason, { reason, isFromServer: true }));
    }
    case Export_State.QUARANTINED:
      throw new QuarantinedError(known.stateReason);
    default:
      return undefined;
  }
}

/** Whether a bundle's location and digest will change, because the server syncs it to S3. */
export function isProvisional({ fellBack, storedIn }: ExportResult): boolean {
  return fellBack && storedIn !== Destination.S3;
}

/** Waits until a provisional bundle is in S3, and returns it. Rejects if aborted. */
export async function whenSynced(client: Client, name: string, signal: AbortSignal): Promise<ExportResult> {
  let delayMs = FIRST_SYNC_CHECK_MS;
  for (;;) {
    await pause(delayMs, signal);
    delayMs = Math.min(delayMs * 1.5, LAST_SYNC_CHECK_MS);
    try {
      const result = resultOf(await client.getExport(name, { signal }));
      if (result.export.state === Export_State.COMMITTED) return result;
    } catch {
      signal.throwIfAborted();
      // The bundle stays provisional as long as its state cannot be read.
    }
  }
}
