package taraexport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"connectrpc.com/connect"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// webConnection lets code that was generated for grpc-go speak gRPC-Web over HTTP/1.1, through
// connect-go. Its errors are gRPC statuses.
type webConnection struct {
	server string
	client *http.Client
	policy Policy
}

func newWebConnection(server string, set settings) *webConnection {
	client := set.httpClient
	if client == nil {
		dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: keepaliveInterval}
		client = &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: connectTimeout,
			ForceAttemptHTTP2:   true,
			IdleConnTimeout:     keepaliveInterval,
		}}
	}
	return &webConnection{strings.TrimSuffix(server, "/"), client, set.policy}
}

func (connection *webConnection) close() error {
	connection.client.CloseIdleConnections()
	return nil
}

func (connection *webConnection) call(method string) *connect.Client[envelope, envelope] {
	return connect.NewClient[envelope, envelope](connection.client, connection.server+method,
		connect.WithGRPCWeb(), connect.WithCodec(envelopeCodec{}), connect.WithReadMaxBytes(maxMessageBytes))
}

// Invoke makes a call that gives one answer, as the service config of the native connection says:
// within a deadline, and again while the server is UNAVAILABLE.
func (connection *webConnection) Invoke(
	ctx context.Context, method string, request, reply any, _ ...grpc.CallOption,
) error {
	caller := ctx
	if _, hasDeadline := ctx.Deadline(); !hasDeadline {
		limited, cancel := context.WithTimeout(ctx, connection.policy.Deadline)
		defer cancel()
		ctx = limited
	}
	waits := newBackoff(connection.policy)
	for attempt := 1; ; attempt++ {
		answer, err := connection.call(method).CallUnary(ctx, connect.NewRequest(wrap(request)))
		if err == nil {
			return proto.Unmarshal(answer.Msg.received, reply.(proto.Message))
		}
		failure := statusOf(ctx, err)
		if status.Code(failure) != codes.Unavailable || attempt >= connection.policy.MaxAttempts {
			return failure
		}
		delay := max(waits.delay(), errorFrom(caller, failure).RetryDelay)
		if deadline, _ := ctx.Deadline(); time.Until(deadline) < delay {
			return failure
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// NewStream begins a call with a stream of answers, the only streams that gRPC-Web has.
func (connection *webConnection) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if description.ClientStreams {
		return nil, status.Error(codes.Unimplemented, "gRPC-Web has no client streams")
	}
	return &webStream{ctx: ctx, call: connection.call(method)}, nil
}

type webStream struct {
	ctx     context.Context
	call    *connect.Client[envelope, envelope]
	request any
	answers *connect.ServerStreamForClient[envelope]
}

func (stream *webStream) Context() context.Context { return stream.ctx }

func (stream *webStream) Header() (metadata.MD, error) { return nil, nil }

func (stream *webStream) Trailer() metadata.MD { return nil }

func (stream *webStream) CloseSend() error { return nil }

func (stream *webStream) SendMsg(request any) error {
	stream.request = request
	return nil
}

func (stream *webStream) RecvMsg(reply any) error {
	if stream.answers == nil {
		answers, err := stream.call.CallServerStream(stream.ctx, connect.NewRequest(wrap(stream.request)))
		if err != nil {
			return statusOf(stream.ctx, err)
		}
		stream.answers = answers
	}
	if stream.answers.Receive() {
		return proto.Unmarshal(stream.answers.Msg().received, reply.(proto.Message))
	}
	err := stream.answers.Err()
	// The body is read to its end, or what reading it gave is known already.
	_ = stream.answers.Close()
	if err == nil {
		return io.EOF
	}
	return statusOf(stream.ctx, err)
}

// envelope is a message on its way through connect-go, whose calls are generic where grpc-go's are not.
type envelope struct {
	sent     proto.Message
	received []byte
}

func wrap(request any) *envelope { return &envelope{sent: request.(proto.Message)} }

type envelopeCodec struct{}

func (envelopeCodec) Name() string { return "proto" }

func (envelopeCodec) Marshal(message any) ([]byte, error) {
	return proto.Marshal(message.(*envelope).sent)
}

func (envelopeCodec) Unmarshal(data []byte, message any) error {
	switch message := message.(type) {
	case *envelope:
		// The memory is used again for the next message.
		message.received = bytes.Clone(data)
		return nil
	case proto.Message:
		// A status with its details, which connect-go reads itself.
		return proto.Unmarshal(data, message)
	default:
		return fmt.Errorf("connect-go wants a message in a %T", message)
	}
}

// statusOf is an error of connect-go as a gRPC status.
func statusOf(ctx context.Context, err error) error {
	answer := &spb.Status{Code: int32(connect.CodeOf(err)), Message: err.Error()}
	if known, isKnown := err.(*connect.Error); isKnown {
		answer.Message = known.Message()
		for _, detail := range known.Details() {
			url := "type.googleapis.com/" + detail.Type()
			answer.Details = append(answer.Details, &anypb.Any{TypeUrl: url, Value: detail.Bytes()})
		}
	}
	if !connect.IsWireError(err) && ctx.Err() == nil && isCut(codes.Code(answer.Code)) {
		answer.Code = int32(codes.Unavailable)
	}
	return status.FromProto(answer).Err()
}

// isCut tells whether connect-go uses a code for a connection that ended, was reset, or brought
// something cut short.
func isCut(code codes.Code) bool {
	switch code {
	case codes.Aborted, codes.Canceled, codes.Internal, codes.InvalidArgument, codes.Unknown:
		return true
	default:
		return false
	}
}
