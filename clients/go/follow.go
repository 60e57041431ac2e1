package taraexport

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// watchedStream is a server stream with an idle timeout.
type watchedStream[Response any] struct {
	ctx    context.Context
	cancel context.CancelFunc
	stream grpc.ServerStreamingClient[Response]
	open   func(context.Context) (grpc.ServerStreamingClient[Response], error)
}

func newWatchedStream[Response any](
	ctx context.Context, open func(context.Context) (grpc.ServerStreamingClient[Response], error),
) *watchedStream[Response] {
	ctx, cancel := context.WithCancel(ctx)
	return &watchedStream[Response]{ctx: ctx, cancel: cancel, open: open}
}

// next reads a message, or returns io.EOF after the last one. Any other error ends the stream.
func (watched *watchedStream[Response]) next(limit time.Duration) (*Response, error) {
	expired := make(chan struct{})
	timer := time.AfterFunc(limit, func() { close(expired); watched.cancel() })
	message, err := watched.receive()
	if !timer.Stop() {
		<-expired
		if err != nil {
			return nil, connectionLost("no message from the server within the idle timeout")
		}
	}
	return message, err
}

func (watched *watchedStream[Response]) receive() (*Response, error) {
	if watched.stream == nil {
		stream, err := watched.open(watched.ctx)
		if err != nil {
			return nil, err
		}
		watched.stream = stream
	}
	return watched.stream.Recv()
}

// follower follows one export until it ends, over one or more streams.
type follower struct {
	service exportv1.ExportServiceClient
	policy  Policy
	name    string
	// Sent if the server does not know the export; nil when only watching.
	request    *exportv1.StartExportRequest
	isStarting bool
	stream     *watchedStream[exportv1.ExportEvent]
	seen       seenEvents
	// Progress is a new event of a run.
	retryTimer *retryTimer
	// Whether the request was already sent again because the export seemed abandoned. This happens once.
	hasResentRequest bool
}

func (client *Client) follow(name string, request *exportv1.StartExportRequest) *follower {
	return &follower{
		service: client.service, policy: client.policy, name: name, request: request,
		isStarting: request != nil, retryTimer: newRetryTimer(client.policy),
	}
}

// next returns the next new event.
func (follower *follower) next(ctx context.Context) (*exportv1.ExportEvent, error) {
	for {
		// grpc-go returns messages that it has already received after the context's end.
		if err := ctx.Err(); err != nil {
			return nil, errorFrom(ctx, err)
		}
		event, err := follower.read(ctx)
		if err != nil {
			follower.close()
			if err := follower.recover(ctx, errorFrom(ctx, err)); err != nil {
				return nil, err
			}
			continue
		}
		if failure := checkEvent(event, follower.name); failure != nil {
			follower.close()
			return nil, failure
		}
		if !follower.seen.isNew(event) {
			continue
		}
		if isRunEvent(event) {
			follower.retryTimer.recordProgress()
		} else {
			follower.resendIfAbandoned()
		}
		return event, nil
	}
}

// finalCode returns the code of the status that ends the stream after `failed`.
func (follower *follower) finalCode(ctx context.Context) codes.Code {
	_, err := follower.stream.next(follower.policy.IdleTimeout)
	if err == nil || errors.Is(err, io.EOF) {
		return codes.Aborted
	}
	if failure := errorFrom(ctx, err); failure.Reason != "" {
		return failure.Code
	}
	return codes.Aborted
}

// close closes the open stream. The next call of next opens another.
func (follower *follower) close() {
	if follower.stream != nil {
		follower.stream.cancel()
		follower.stream = nil
	}
}

func (follower *follower) read(ctx context.Context) (*exportv1.ExportEvent, error) {
	limit := follower.policy.IdleTimeout
	if follower.stream == nil {
		if follower.isStarting {
			size := proto.Size(follower.request)
			limit = max(follower.policy.ProgressTimeout, follower.policy.IdleTimeout) + sendingTime(size)
		}
		follower.stream = newWatchedStream(ctx, follower.open)
	}
	event, err := follower.stream.next(limit)
	if errors.Is(err, io.EOF) {
		return nil, connectionLost("the stream ended before the export")
	}
	if err == nil {
		// The server knows the export now.
		follower.isStarting = false
	}
	return event, err
}

func (follower *follower) open(ctx context.Context) (grpc.ServerStreamingClient[exportv1.ExportEvent], error) {
	if follower.isStarting {
		return follower.service.StartExport(ctx, follower.request)
	}
	runID, after := follower.seen.position()
	watch := &exportv1.WatchExportRequest{Name: follower.name, RunId: runID, AfterSequence: after}
	return follower.service.WatchExport(ctx, watch)
}

// recover prepares the next attempt, or returns the error if a retry cannot help.
func (follower *follower) recover(ctx context.Context, failure *Error) error {
	if follower.request != nil && !follower.isStarting && failure.Reason == "EXPORT_NOT_HERE" {
		follower.isStarting = true
		return nil
	}
	// Not accepted: the store is down, and the caller allowed no fallback.
	isRejected := follower.isStarting && failure.Reason == "STORE_UNAVAILABLE"
	if !failure.isRetryable() || isRejected {
		return failure
	}
	if err := follower.retryTimer.wait(ctx, follower.name, failure); err != nil {
		return err
	}
	follower.isStarting = false
	return nil
}

// resendIfAbandoned sends the request again after the progress timeout, so that this server finishes the
// export: it follows the export through the store and cannot see whether another replica is working on it.
func (follower *follower) resendIfAbandoned() {
	isAbandoned := follower.retryTimer.sinceProgress() > follower.policy.ProgressTimeout
	if isAbandoned && follower.request != nil && !follower.hasResentRequest {
		follower.hasResentRequest = true
		follower.retryTimer.recordProgress()
		follower.close()
		follower.isStarting = true
	}
}
