package taraexport

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Policy says how patiently calls are made, and lost ones taken up again.
type Policy struct {
	// Patience is how long to go on without news of an export or headway of a transfer.
	Patience time.Duration
	// Silence is how long a stream may say nothing before it counts as lost; servers send a heartbeat
	// at least every 15 s.
	Silence time.Duration
	// MinDelay is the first wait before another attempt; each further one is about twice as long.
	MinDelay time.Duration
	// MaxDelay is the longest such wait.
	MaxDelay time.Duration
	// Deadline is how long a call with one answer may take, its repetitions included. A context with
	// an earlier deadline wins.
	Deadline time.Duration
	// MaxAttempts is how often such a call is sent at most while the answer is UNAVAILABLE; 2 to 5.
	MaxAttempts int
}

// DefaultPolicy is what a client has when nobody asks for another.
func DefaultPolicy() Policy {
	return Policy{
		Patience:    2 * time.Minute,
		Silence:     45 * time.Second,
		MinDelay:    200 * time.Millisecond,
		MaxDelay:    10 * time.Second,
		Deadline:    30 * time.Second,
		MaxAttempts: 4,
	}
}

// The slowest line that is waited for: what is sent may take a second more for each of these bytes.
const slowestBytesPerSecond = 32 * 1024

func sendingTime(sizeBytes int) time.Duration {
	return time.Duration(sizeBytes) * time.Second / slowestBytesPerSecond
}

// serviceConfig is the policy in the form that grpc-go follows by itself. Streams are not in it: a
// client that repeated them would begin an upload or a download anew.
func (policy Policy) serviceConfig() string {
	unary := ""
	for _, method := range []string{
		"PreviewExport", "GetExport", "ListExports", "GetReport", "CheckStorage", "CreateUpload", "GetUpload",
		"CreateDownloadLink",
	} {
		if unary != "" {
			unary += ","
		}
		unary += fmt.Sprintf(`{"service":%q,"method":%q}`, serviceName, method)
	}
	return fmt.Sprintf(`{"methodConfig":[{"name":[%s],"timeout":"%fs","retryPolicy":{"maxAttempts":%d,`+
		`"initialBackoff":"%fs","maxBackoff":"%fs","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`,
		unary, policy.Deadline.Seconds(), policy.MaxAttempts, policy.MinDelay.Seconds(), policy.MaxDelay.Seconds())
}

// backoff makes growing waits, each between half and all of its length, so that clients don't come
// back all at once.
type backoff struct {
	policy Policy
	next   time.Duration
}

func newBackoff(policy Policy) backoff { return backoff{policy, policy.MinDelay} }

func (waits *backoff) delay() time.Duration {
	length := waits.next
	waits.next = min(2*waits.next, waits.policy.MaxDelay)
	return length/2 + time.Duration(rand.Int64N(int64(length/2)+1))
}
