package taraexport

import (
	"context"
	"iter"

	"google.golang.org/protobuf/proto"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// ListEvents lists the server's events, oldest first. Pages are fetched on demand. The request has the conditions, the
// page size and the start; nil lists the pending and dead events. An error ends the iteration.
func (client *Client) ListEvents(
	ctx context.Context, request *exportv1.ListEventsRequest,
) iter.Seq2[*exportv1.Event, error] {
	return func(yield func(*exportv1.Event, error) bool) {
		next := &exportv1.ListEventsRequest{}
		proto.Merge(next, request)
		for {
			page, err := unary(ctx, client.automation.ListEvents, next)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, event := range page.GetEvents() {
				if failure := checkListedEvent(event); failure != nil {
					yield(nil, failure)
					return
				}
				if !yield(event, nil) {
					return
				}
			}
			if next.PageToken = page.GetNextPageToken(); next.PageToken == "" {
				return
			}
		}
	}
}

// RetryEvents delivers dead letters again, or events of committed exports that were never written.
func (client *Client) RetryEvents(
	ctx context.Context, request *exportv1.RetryEventsRequest,
) (*exportv1.RetryEventsResponse, error) {
	return unary(ctx, client.automation.RetryEvents, request)
}

// ListTargets lists the targets of notifications and their state.
func (client *Client) ListTargets(ctx context.Context) (*exportv1.ListTargetsResponse, error) {
	return unary(ctx, client.automation.ListTargets, &exportv1.ListTargetsRequest{})
}

// TestTarget sends a test event to a target, and returns its answer. A target that does not accept the event is not an
// error, but Delivered is false. As every unary call, it is repeated while the server is UNAVAILABLE, so the target can
// receive the event twice.
func (client *Client) TestTarget(ctx context.Context, target string) (*exportv1.TestTargetResponse, error) {
	return unary(ctx, client.automation.TestTarget, &exportv1.TestTargetRequest{Target: target})
}
