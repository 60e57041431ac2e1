package taraexport

import exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"

func isTerminal(event *exportv1.ExportEvent) bool {
	return event.GetCompleted() != nil || event.GetFailed() != nil
}

// isOfARun tells whether a run sent the event, or ended. A heartbeat without a run only says that the
// server, which looks for the bundle in the store, is alive.
func isOfARun(event *exportv1.ExportEvent) bool { return event.GetRunId() != "" || isTerminal(event) }

// seenEvents knows which events were seen, so that none is told twice.
type seenEvents struct {
	// The run of the last numbered event.
	runID string
	// The highest number seen, by run: a server may go back to an older run.
	lastByRun map[string]int64
}

// isNew tells whether the event was not seen before; from then on it was.
func (seen *seenEvents) isNew(event *exportv1.ExportEvent) bool {
	if isTerminal(event) {
		// Ends the stream, so it can't come twice. Of an export that had ended before the call it
		// belongs to no run.
		return true
	}
	last := seen.lastByRun[event.GetRunId()]
	if event.GetArtifactProgress() != nil || event.GetHeartbeat() != nil {
		// These repeat the last number.
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

// position is the run to attach to, and its last event seen.
func (seen *seenEvents) position() (runID string, afterSequence int64) {
	return seen.runID, seen.lastByRun[seen.runID]
}
