package taraexport

import (
	"fmt"
	"math/rand/v2"
	"time"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Policy has the timeouts and retries of calls.
type Policy struct {
	// ProgressTimeout is the time without progress of an export or a transfer after which the client
	// stops.
	ProgressTimeout time.Duration
	// IdleTimeout is the time without a message after which a stream counts as lost; servers send a
	// heartbeat at least every 15 s.
	IdleTimeout time.Duration
	// MinDelay is the first delay before a retry. The delay doubles with each attempt.
	MinDelay time.Duration
	// MaxDelay is the longest delay before a retry.
	MaxDelay time.Duration
	// Deadline limits a unary call including its retries. An earlier deadline of the context takes
	// precedence.
	Deadline time.Duration
	// MaxAttempts is the maximum number of attempts of a unary call while the server is UNAVAILABLE; 2 to 5.
	MaxAttempts int
}

// DefaultPolicy returns the policy of clients without [WithPolicy].
func DefaultPolicy() Policy {
	return Policy{
		ProgressTimeout: 2 * time.Minute,
		IdleTimeout:     45 * time.Second,
		MinDelay:        200 * time.Millisecond,
		MaxDelay:        10 * time.Second,
		Deadline:        30 * time.Second,
		MaxAttempts:     4,
	}
}

// The slowest supported connection. Timeouts are extended by the time that sending takes at this rate.
const minBytesPerSecond = 32 * 1024

func sendingTime(sizeBytes int) time.Duration {
	return time.Duration(sizeBytes) * time.Second / minBytesPerSecond
}

// serviceConfig converts the policy to a service config of grpc-go. Streams are not in it: a retry would
// restart an upload or a download.
func (policy Policy) serviceConfig() string {
	unary := ""
	for _, service := range []struct {
		name    string
		methods []string
	}{
		{exportv1.ExportService_ServiceDesc.ServiceName, []string{
			"PreviewExport", "GetExport", "ListExports", "GetReport", "CheckStorage", "CreateUpload", "GetUpload",
			"CreateDownloadLink", "GetBatch",
		}},
		{exportv1.AutomationService_ServiceDesc.ServiceName, []string{
			"ListEvents", "RetryEvents", "ListTargets", "TestTarget",
		}},
	} {
		for _, method := range service.methods {
			if unary != "" {
				unary += ","
			}
			unary += fmt.Sprintf(`{"service":%q,"method":%q}`, service.name, method)
		}
	}
	return fmt.Sprintf(`{"methodConfig":[{"name":[%s],"timeout":"%fs","retryPolicy":{"maxAttempts":%d,`+
		`"initialBackoff":"%fs","maxBackoff":"%fs","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`,
		unary, policy.Deadline.Seconds(), policy.MaxAttempts, policy.MinDelay.Seconds(), policy.MaxDelay.Seconds())
}

// backoff computes growing delays. Each is randomized between half and all of its length, so that clients
// do not reconnect all at once.
type backoff struct {
	policy Policy
	next   time.Duration
}

func newBackoff(policy Policy) backoff { return backoff{policy, policy.MinDelay} }

func (backoff *backoff) delay() time.Duration {
	length := backoff.next
	backoff.next = min(2*backoff.next, backoff.policy.MaxDelay)
	return length/2 + time.Duration(rand.Int64N(int64(length/2)+1))
}
