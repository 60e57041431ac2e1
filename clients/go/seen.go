package taraexport

import exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"

func isTerminal(event *exportv1.ExportEvent) bool {
	return event.GetCompleted() != nil || event.GetFailed() != nil
}

// isRunEvent reports whether the event belongs to a run or ends the export. A heartbeat without a run only
// shows that the server is alive and polls the store for the bundle.
func isRunEvent(event *exportv1.ExportEvent) bool { return event.GetRunId() != "" || isTerminal(event) }

// seenEvents tracks the events that were seen, so that none is reported twice.
type seenEvents struct {
	// The run of the last numbered event.
	runID string
	// The highest sequence number per run: a server may return to an older run.
	lastByRun map[string]int64
}

// isNew reports whether the event is new, and marks it as seen.
func (seen *seenEvents) isNew(event *exportv1.ExportEvent) bool {
	if isTerminal(event) {
		// It ends the stream, so it cannot repeat. If the export ended before the call, it belongs to no
		// run.
		return true
	}
	last := seen.lastByRun[event.GetRunId()]
	if event.GetArtifactProgress() != nil || event.GetHeartbeat() != nil {
		// These repeat the last sequence number.
		return event.GetSequence() >= last
	}
	seen.runID = event.GetRunId()
	if event.GetSequence() <= last {
		return false
	}
	if seen.lastByRun == nil {
		seen.lastByRun = map[string]int64{}
	}
	seen.lastByRun[event.GetRunId()] = event.GetSequence()
	return true
}

// position returns the run to resume, and its last seen event.
func (seen *seenEvents) position() (runID string, afterSequence int64) {
	return seen.runID, seen.lastByRun[seen.runID]
}
