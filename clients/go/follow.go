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

// watchedStream is a stream of the server that is cancelled when it is silent for too long.
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

// next reads a message, or returns io.EOF after the last. Other errors end the stream.
func (watched *watchedStream[Response]) next(limit time.Duration) (*Response, error) {
	silent := make(chan struct{})
	timer := time.AfterFunc(limit, func() { close(silent); watched.cancel() })
	message, err := watched.receive()
	if !timer.Stop() {
		<-silent
		if err != nil {
			return nil, lost("the server said nothing for too long")
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

// follower follows one export to its end, over as many streams as that takes.
type follower struct {
	service exportv1.ExportServiceClient
	policy  Policy
	name    string
	// What to send where nothing is known of the export; nil when only watching.
	request    *exportv1.StartExportRequest
	isStarting bool
	stream     *watchedStream[exportv1.ExportEvent]
	seen       seenEvents
	// Headway is a new event of a run.
	patience *patience
	// Whether the request was sent again because nobody seemed to work on it. Once is enough.
	hasStartedAgain bool
}

func (client *Client) follow(name string, request *exportv1.StartExportRequest) *follower {
	return &follower{
		service: client.service, policy: client.policy, name: name, request: request,
		isStarting: request != nil, patience: newPatience(client.policy),
	}
}

// next is the next event that was not seen before.
func (follower *follower) next(ctx context.Context) (*exportv1.ExportEvent, error) {
	for {
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
		if isOfARun(event) {
			follower.patience.progressed()
		} else {
			follower.startAgainIfAbandoned()
		}
		return event, nil
	}
}

// endingCode is the code of the status that ends the stream after `failed`.
func (follower *follower) endingCode(ctx context.Context) codes.Code {
	_, err := follower.stream.next(follower.policy.Silence)
	if err == nil || errors.Is(err, io.EOF) {
		return codes.Aborted
	}
	if failure := errorFrom(ctx, err); failure.Reason != "" {
		return failure.Code
	}
	return codes.Aborted
}

// close ends the open stream. A later next attaches again.
func (follower *follower) close() {
	if follower.stream != nil {
		follower.stream.cancel()
		follower.stream = nil
	}
}

func (follower *follower) read(ctx context.Context) (*exportv1.ExportEvent, error) {
	limit := follower.policy.Silence
	if follower.stream == nil {
		if follower.isStarting {
			size := proto.Size(follower.request)
			limit = max(follower.policy.Patience, follower.policy.Silence) + sendingTime(size)
		}
		follower.stream = newWatchedStream(ctx, follower.open)
	}
	event, err := follower.stream.next(limit)
	if errors.Is(err, io.EOF) {
		return nil, lost("the stream ended before the export did")
	}
	if err == nil {
		// From now on the server knows the export.
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

// recover makes ready for the next attempt, or returns the error where none would help.
func (follower *follower) recover(ctx context.Context, failure *Error) error {
	if follower.request != nil && !follower.isStarting && failure.Reason == "EXPORT_NOT_HERE" {
		follower.isStarting = true
		return nil
	}
	// Not accepted: the store is down, and the caller did not want another.
	isRefused := follower.isStarting && failure.Reason == "STORE_UNAVAILABLE"
	if !failure.isLost() || isRefused {
		return failure
	}
	if err := follower.patience.wait(ctx, follower.name, failure); err != nil {
		return err
	}
	follower.isStarting = false
	return nil
}

// startAgainIfAbandoned sends the request again when nobody finishes the export for so long: a server
// that follows it through the store can't see whether anybody works on it, and will finish it then.
func (follower *follower) startAgainIfAbandoned() {
	isAbandoned := follower.patience.waited() > follower.policy.Patience
	if isAbandoned && follower.request != nil && !follower.hasStartedAgain {
		follower.hasStartedAgain = true
		follower.patience.progressed()
		follower.close()
		follower.isStarting = true
	}
}
