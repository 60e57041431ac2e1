package taraexport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// The time that a server may take to accept a batch, for each request.
const acceptTime = 200 * time.Millisecond

// ExportBatch exports many reviews, at most 500, follows them until all have ended, and returns the batch with its
// items. onResult is called with the result of each item, once, on the goroutine that exports; it can be nil.
//
// The batch id is generated if it is empty. ExportBatch sends the same batch again after a lost connection, and if the
// server did not accept every item. An item that is refused or fails is no error, but a state of the item. Accepted
// exports continue after the context ends.
func (client *Client) ExportBatch(
	ctx context.Context, request *exportv1.BatchStartExportsRequest, onResult func(*exportv1.BatchItem),
) (*exportv1.Batch, error) {
	started := &exportv1.BatchStartExportsRequest{BatchId: request.GetBatchId(), Requests: request.GetRequests()}
	if started.BatchId == "" {
		started.BatchId = uuid.NewString()
	}
	return client.followBatch(ctx, "batches/"+started.BatchId, started, onResult)
}

// WatchBatch follows a batch that was started earlier by any process until it ends; name is batches/{batch_id}.
func (client *Client) WatchBatch(
	ctx context.Context, name string, onResult func(*exportv1.BatchItem),
) (*exportv1.Batch, error) {
	return client.followBatch(ctx, name, nil, onResult)
}

// GetBatch returns a batch with its items.
func (client *Client) GetBatch(ctx context.Context, name string) (*exportv1.Batch, error) {
	response, err := unary(ctx, client.service.GetBatch, &exportv1.GetBatchRequest{Name: name})
	if err != nil {
		return nil, err
	}
	if failure := checkBatch(response.GetBatch(), name); failure != nil {
		return nil, failure
	}
	return response.GetBatch(), nil
}

// batchFollower follows one batch until it ends, over one or more streams.
type batchFollower struct {
	client *Client
	name   string
	// Sent if the server does not know the batch; nil when only watching.
	request     *exportv1.BatchStartExportsRequest
	isStarting  bool
	stream      *watchedStream[exportv1.WatchBatchResponse]
	runID       string
	sequence    int64
	seen        map[int32]bool
	notAccepted int32
	retryTimer  *retryTimer
}

func (client *Client) followBatch(
	ctx context.Context, name string, request *exportv1.BatchStartExportsRequest, onResult func(*exportv1.BatchItem),
) (*exportv1.Batch, error) {
	follower := &batchFollower{
		client: client, name: name, request: request, isStarting: request != nil,
		seen: map[int32]bool{}, notAccepted: -1, retryTimer: newRetryTimer(client.policy),
	}
	defer follower.close()
	for {
		if err := ctx.Err(); err != nil {
			return nil, errorFrom(ctx, err)
		}
		step, err := follower.next(ctx)
		if err != nil {
			follower.close()
			if err := follower.recover(ctx, errorFrom(ctx, err)); err != nil {
				return nil, err
			}
			continue
		}
		if item := step.GetItem(); item != nil && !follower.seen[item.GetIndex()] {
			follower.seen[item.GetIndex()] = true
			if onResult != nil {
				onResult(item)
			}
		}
		if step.GetEnded() != nil {
			return client.GetBatch(ctx, name)
		}
	}
}

func (follower *batchFollower) close() {
	if follower.stream != nil {
		follower.stream.cancel()
		follower.stream = nil
	}
}

func (follower *batchFollower) next(ctx context.Context) (*exportv1.WatchBatchResponse, error) {
	if follower.isStarting {
		if err := follower.start(ctx); err != nil {
			return nil, err
		}
		follower.isStarting = false
	}
	if follower.stream == nil {
		follower.stream = newWatchedStream(ctx, follower.open)
	}
	step, err := follower.stream.next(follower.client.policy.IdleTimeout)
	if errors.Is(err, io.EOF) {
		return nil, connectionLost("the stream ended before the batch")
	}
	if err != nil {
		return nil, err
	}
	if failure := checkBatchStep(step, follower.name); failure != nil {
		return nil, failure
	}
	follower.runID, follower.sequence = step.GetRunId(), step.GetSequence()
	follower.retryTimer.recordProgress()
	return step, nil
}

func (follower *batchFollower) open(
	ctx context.Context,
) (grpc.ServerStreamingClient[exportv1.WatchBatchResponse], error) {
	watch := &exportv1.WatchBatchRequest{Name: follower.name, RunId: follower.runID, AfterSequence: follower.sequence}
	return follower.client.service.WatchBatch(ctx, watch)
}

// start sends the batch, and returns an error if it has to be sent again.
func (follower *batchFollower) start(ctx context.Context) error {
	limit := follower.client.policy.IdleTimeout + sendingTime(proto.Size(follower.request)) +
		time.Duration(len(follower.request.GetRequests()))*acceptTime
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	response, err := follower.client.service.BatchStartExports(limited, follower.request)
	if err != nil {
		if ctx.Err() == nil && limited.Err() != nil {
			return connectionLost("no response to BatchStartExports within the timeout")
		}
		return err
	}
	batch := response.GetBatch()
	if failure := checkBatch(batch, follower.name); failure != nil {
		return failure
	}
	count := batch.GetCounts().GetNotAccepted()
	if count == 0 {
		return nil
	}
	if follower.notAccepted < 0 || count < follower.notAccepted {
		follower.notAccepted = count
		follower.retryTimer.recordProgress()
	}
	failure := &Error{Code: codes.Unavailable, Message: fmt.Sprintf("%d items were not accepted", count), isLost: true}
	for _, item := range batch.GetItems() {
		if item.GetState() == exportv1.BatchItem_STATE_NOT_ACCEPTED {
			failure.Reason = item.GetStateReason()
			failure.Message += ", one because " + item.GetMessage()
			break
		}
	}
	return failure
}

// recover prepares the next attempt, or returns the error if a retry cannot help.
func (follower *batchFollower) recover(ctx context.Context, failure *Error) error {
	if follower.request != nil && !follower.isStarting && failure.Reason == "BATCH_NOT_HERE" {
		follower.isStarting = true
		return nil
	}
	if !failure.isRetryable() {
		return failure
	}
	return follower.retryTimer.wait(ctx, follower.name, failure)
}
