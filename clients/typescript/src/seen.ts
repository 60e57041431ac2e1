import type { ExportEvent } from "./gen/tara/export/v1/export_pb.js";

/** Whether the event ends its export. */
export function isTerminal(event: ExportEvent): boolean {
  return event.event.case === "completed" || event.event.case === "failed";
}

/**
 * Whether a run sent the event, or ended. A heartbeat without a run only says that the server, which
 * looks for the bundle in the store, is alive.
 */
export function isOfARun(event: ExportEvent): boolean {
  return event.runId !== "" || isTerminal(event);
}

/** Which events were seen, so that none is yielded twice. */
export class SeenEvents {
  /** The run of the last numbered event. */
  private runId = "";
  /** The highest number seen, by run: a server may go back to an older run. */
  private readonly lastByRun = new Map<string, bigint>();

  /** Whether the event was not seen before; from then on it was. */
  isNew(event: ExportEvent): boolean {
    // Ends the stream, so it can't come twice. Of an export that had ended before the call it belongs
    // to no run.
    if (isTerminal(event)) return true;
    const last = this.lastByRun.get(event.runId) ?? 0n;
    // These repeat the last number.
    if (event.event.case === "artifactProgress" || event.event.case === "heartbeat") return event.sequence >= last;
    this.runId = event.runId;
    if (event.sequence <= last) return false;
    this.lastByRun.set(event.runId, event.sequence);
    return true;
  }

  /** The run to attach to, and its last event seen. */
  position(): { runId: string; afterSequence: bigint } {
    return { runId: this.runId, afterSequence: this.lastByRun.get(this.runId) ?? 0n };
  }
}
