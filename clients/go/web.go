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

// webConnection is a connection for the generated code of grpc-go that uses gRPC-Web over HTTP/1.1
// through connect-go. Its errors are gRPC statuses.
type webConnection struct {
	server string
	client *http.Client
	policy Policy
}

func newWebConnection(server string, config settings) *webConnection {
	client := config.httpClient
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
	return &webConnection{strings.TrimSuffix(server, "/"), client, config.policy}
}

func (connection *webConnection) close() error {
	connection.client.CloseIdleConnections()
	return nil
}

func (connection *webConnection) call(method string) *connect.Client[envelope, envelope] {
	return connect.NewClient[envelope, envelope](connection.client, connection.server+method,
		connect.WithGRPCWeb(), connect.WithCodec(envelopeCodec{}), connect.WithReadMaxBytes(maxMessageBytes))
}

// Invoke makes a unary call with the same deadline and retries as the service config of the native
// connection.
func (connection *webConnection) Invoke(
	ctx context.Context, method string, request, reply any, _ ...grpc.CallOption,
) error {
	caller := ctx
	if _, hasDeadline := ctx.Deadline(); !hasDeadline {
		limited, cancel := context.WithTimeout(ctx, connection.policy.Deadline)
		defer cancel()
		ctx = limited
	}
	backoff := newBackoff(connection.policy)
	for attempt := 1; ; attempt++ {
		response, err := connection.call(method).CallUnary(ctx, connect.NewRequest(wrap(request)))
		if err == nil {
			return proto.Unmarshal(response.Msg.received, reply.(proto.Message))
		}
		failure := statusOf(ctx, err)
		if status.Code(failure) != codes.Unavailable || attempt >= connection.policy.MaxAttempts {
			return failure
		}
		delay := max(backoff.delay(), errorFrom(caller, failure).RetryDelay)
		if deadline, _ := ctx.Deadline(); time.Until(deadline) < delay {
			return failure
		}
		if err := sleep(ctx, delay); err != nil {
			return err
		}
	}
}

// NewStream starts a server-streaming call. gRPC-Web has no other streams.
func (connection *webConnection) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, _ ...grpc.CallOption,
) (grpc.ClientStream, error) {
	if description.ClientStreams {
		return nil, status.Error(codes.Unimplemented, "gRPC-Web has no client streams")
	}
	return &webStream{ctx: ctx, call: connection.call(method)}, nil
}

type webStream struct {
	ctx       context.Context
	call      *connect.Client[envelope, envelope]
	request   any
	responses *connect.ServerStreamForClient[envelope]
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
	if stream.responses == nil {
		responses, err := stream.call.CallServerStream(stream.ctx, connect.NewRequest(wrap(stream.request)))
		if err != nil {
			return statusOf(stream.ctx, err)
		}
		stream.responses = responses
	}
	if stream.responses.Receive() {
		return proto.Unmarshal(stream.responses.Msg().received, reply.(proto.Message))
	}
	err := stream.responses.Err()
	// The body was read to its end, or its read error is already known.
	_ = stream.responses.Close()
	if err == nil {
		return io.EOF
	}
	return statusOf(stream.ctx, err)
}

// envelope wraps a message for connect-go, whose calls are generic, unlike grpc-go's.
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
		// The caller reuses the memory for the next message.
		message.received = bytes.Clone(data)
		return nil
	case proto.Message:
		// A status with details, which connect-go decodes itself.
		return proto.Unmarshal(data, message)
	default:
		return fmt.Errorf("cannot decode a message into a %T", message)
	}
}

// statusOf converts an error of connect-go to a gRPC status.
func statusOf(ctx context.Context, err error) error {
	response := &spb.Status{Code: int32(connect.CodeOf(err)), Message: err.Error()}
	if known, isKnown := err.(*connect.Error); isKnown {
		response.Message = known.Message()
		for _, detail := range known.Details() {
			url := "type.googleapis.com/" + detail.Type()
			response.Details = append(response.Details, &anypb.Any{TypeUrl: url, Value: detail.Bytes()})
		}
	}
	if !connect.IsWireError(err) && ctx.Err() == nil && isConnectionLost(codes.Code(response.Code)) {
		response.Code = int32(codes.Unavailable)
	}
	return status.FromProto(response).Err()
}

// isConnectionLost reports whether connect-go uses a code if a connection ended, was reset, or delivered a
// truncated message.
func isConnectionLost(code codes.Code) bool {
	switch code {
	case codes.Aborted, codes.Canceled, codes.Internal, codes.InvalidArgument, codes.Unknown:
		return true
	default:
		return false
	}
}
