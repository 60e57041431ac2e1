import type { ExportEvent } from "./gen/tara/export/v1/export_pb.js";

/** Whether the event is the last of its export. */
export function isTerminal(event: ExportEvent): boolean {
  return event.event.case === "completed" || event.event.case === "failed";
}

/**
 * Whether the event belongs to a run or ends the export. A heartbeat without a run only shows that the
 * server is alive and polls the store for the bundle.
 */
export function isRunEvent(event: ExportEvent): boolean {
  return event.runId !== "" || isTerminal(event);
}

/** Tracks the events that were seen, so that none is yielded twice. */
export class SeenEvents {
  /** The run of the last numbered event. */
  private runId = "";
  /** The highest sequence number per run: a server may return to an older run. */
  private readonly lastByRun = new Map<string, bigint>();

  /** Whether the event is new. Marks it as seen. */
  isNew(event: ExportEvent): boolean {
    // It ends the stream, so it cannot repeat. If the export ended before the call, it belongs to no run.
    if (isTerminal(event)) return true;
    const last = this.lastByRun.get(event.runId) ?? 0n;
    // These repeat the last sequence number.
    if (event.event.case === "artifactProgress" || event.event.case === "heartbeat") return event.sequence >= last;
    this.runId = event.runId;
    if (event.sequence <= last) return false;
    this.lastByRun.set(event.runId, event.sequence);
    return true;
  }

  /** The run to resume, and the last event that was seen of it. */
  position(): { runId: string; afterSequence: bigint } {
    return { runId: this.runId, afterSequence: this.lastByRun.get(this.runId) ?? 0n };
  }
}
