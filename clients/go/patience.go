package taraexport

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// patience waits between attempts as long as there is headway now and then.
type patience struct {
	policy       Policy
	waits        backoff
	lastProgress time.Time
}

func newPatience(policy Policy) *patience {
	return &patience{policy, newBackoff(policy), time.Now()}
}

// progressed says that there was headway: begin with short waits again.
func (patience *patience) progressed() {
	patience.lastProgress = time.Now()
	patience.waits = newBackoff(patience.policy)
}

func (patience *patience) waited() time.Duration { return time.Since(patience.lastProgress) }

// wait waits before the next attempt at `of`, or gives up where patience ends before that.
func (patience *patience) wait(ctx context.Context, of string, failure *Error) error {
	delay := max(patience.waits.delay(), failure.RetryDelay)
	if waited := patience.waited(); waited+delay > patience.policy.Patience {
		return &Error{
			Code:     codes.Unavailable,
			Reason:   ReasonLostContact,
			Message:  fmt.Sprintf("no news of %s for %.0f s, it may still go on", of, waited.Seconds()),
			Metadata: map[string]string{"name": of},
			Err:      failure,
		}
	}
	return sleep(ctx, delay)
}

func sleep(ctx context.Context, delay time.Duration) error {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return errorFrom(ctx, ctx.Err())
	}
}
