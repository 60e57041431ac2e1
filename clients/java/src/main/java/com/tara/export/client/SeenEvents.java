package com.tara.export.client;

import com.tara.export.v1.ExportEvent;
import java.util.HashMap;
import java.util.Map;

/** Which events were seen, so that none is told twice. */
final class SeenEvents {
  /** The run of the last numbered event. */
  private String runId = "";

  /** The highest number seen, by run: a server may go back to an older run. */
  private final Map<String, Long> lastByRun = new HashMap<>();

  static boolean isTerminal(ExportEvent event) {
    return event.hasCompleted() || event.hasFailed();
  }

  /**
   * Whether a run sent the event, or ended. A heartbeat without a run only says that the server,
   * which looks for the bundle in the store, is alive.
   */
  static boolean isOfARun(ExportEvent event) {
    return !event.getRunId().isEmpty() || isTerminal(event);
  }

  /** Whether the event was not seen before; from then on it was. */
  boolean isNew(ExportEvent event) {
    if (isTerminal(event)) {
      // Ends the stream, so it can't come twice. Of an export that had ended before the call it
      // belongs to no run.
      return true;
    }
    long last = lastByRun.getOrDefault(event.getRunId(), 0L);
    if (event.hasArtifactProgress() || event.hasHeartbeat()) {
      // These repeat the last number.
      return event.getSequence() >= last;
    }
    runId = event.getRunId();
    lastByRun.merge(runId, event.getSequence(), Math::max);
    return event.getSequence() > last;
  }

  /** The run to attach to. */
  String runId() {
    return runId;
  }

  /** The last event seen of that run. */
  long afterSequence() {
    return lastByRun.getOrDefault(runId, 0L);
  }
}
