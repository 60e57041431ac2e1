package com.tara.export.client;

import com.tara.export.v1.ExportEvent;
import java.util.HashMap;
import java.util.Map;

/** Tracks the events that were seen, so that none is delivered twice. */
final class SeenEvents {
  /** The run of the last numbered event. */
  private String runId = "";

  /** The highest sequence number per run: a server may return to an older run. */
  private final Map<String, Long> lastByRun = new HashMap<>();

  static boolean isTerminal(ExportEvent event) {
    return event.hasCompleted() || event.hasFailed();
  }

  /**
   * Whether the event belongs to a run or ends the export. A heartbeat without a run only shows
   * that the server is alive and polls the store for the bundle.
   */
  static boolean isRunEvent(ExportEvent event) {
    return !event.getRunId().isEmpty() || isTerminal(event);
  }

  /** Whether the event is new. Marks it as seen. */
  boolean isNew(ExportEvent event) {
    if (isTerminal(event)) {
      // It ends the stream, so it cannot repeat. If the export ended before the call, it belongs to
      // no run.
      return true;
    }
    long last = lastByRun.getOrDefault(event.getRunId(), 0L);
    if (event.hasArtifactProgress() || event.hasHeartbeat()) {
      // These repeat the last sequence number.
      return event.getSequence() >= last;
    }
    runId = event.getRunId();
    lastByRun.merge(runId, event.getSequence(), Math::max);
    return event.getSequence() > last;
  }

  /** The run to resume. */
  String runId() {
    return runId;
  }

  /** The last event that was seen of that run. */
  long afterSequence() {
    return lastByRun.getOrDefault(runId, 0L);
  }
}
