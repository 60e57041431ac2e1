package taraexport

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
)

// retryTimer waits between attempts until there is no progress within the timeout.
type retryTimer struct {
	policy       Policy
	backoff      backoff
	lastProgress time.Time
}

func newRetryTimer(policy Policy) *retryTimer {
	return &retryTimer{policy, newBackoff(policy), time.Now()}
}

// recordProgress restarts the timeout and the backoff.
func (retryTimer *retryTimer) recordProgress() {
	retryTimer.lastProgress = time.Now()
	retryTimer.backoff = newBackoff(retryTimer.policy)
}

func (retryTimer *retryTimer) sinceProgress() time.Duration {
	return time.Since(retryTimer.lastProgress)
}

// wait waits before the next attempt. It returns an error if the timeout would end before that.
func (retryTimer *retryTimer) wait(ctx context.Context, subject string, failure *Error) error {
	delay := max(retryTimer.backoff.delay(), failure.RetryDelay)
	if waited := retryTimer.sinceProgress(); waited+delay > retryTimer.policy.ProgressTimeout {
		return &Error{
			Code:     codes.Unavailable,
			Reason:   ReasonLostContact,
			Message:  fmt.Sprintf("no progress of %s for %.0f s, it may still be running", subject, waited.Seconds()),
			Metadata: map[string]string{"name": subject},
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
