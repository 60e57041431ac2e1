package taraexport

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
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

func newWebConnection(server address, config settings, tlsConfig *tls.Config) *webConnection {
	client := &http.Client{}
	if config.httpClient != nil {
		*client = *config.httpClient
	} else {
		dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: keepaliveInterval}
		transport := &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			TLSClientConfig:        tlsConfig,
			TLSHandshakeTimeout:    connectTimeout,
			ForceAttemptHTTP2:      true,
			IdleConnTimeout:        keepaliveInterval,
			MaxResponseHeaderBytes: maxHeaderBytes,
		}
		if server.socket != "" {
			transport.Proxy = nil
			transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", server.socket)
			}
		}
		client.Transport = transport
		// A redirect would send the token to another address, or make the call a GET.
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	if client.Transport == nil {
		client.Transport = http.DefaultTransport
	}
	client.Transport = checkedTransport{client.Transport}
	return &webConnection{server.url, client, config.policy}
}

func (connection *webConnection) close() error {
	if checked, isChecked := connection.client.Transport.(checkedTransport); isChecked {
		if closer, isCloser := checked.inner.(interface{ CloseIdleConnections() }); isCloser {
			closer.CloseIdleConnections()
		}
	}
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
		response, err := connection.call(method).CallUnary(ctx, requestOf(ctx, request))
		if err == nil {
			return decode(response.Msg, reply)
		}
		failure := statusOf(ctx, err)
		described := errorFrom(caller, failure)
		isUnavailable := described.Code == codes.Unavailable && described.isRetryable()
		if !isUnavailable || attempt >= connection.policy.MaxAttempts {
			return failure
		}
		delay := max(backoff.delay(), described.RetryDelay)
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
		responses, err := stream.call.CallServerStream(stream.ctx, requestOf(stream.ctx, stream.request))
		if err != nil {
			return statusOf(stream.ctx, err)
		}
		stream.responses = responses
	}
	if stream.responses.Receive() {
		return decode(stream.responses.Msg(), reply)
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

// requestOf wraps a message with the metadata of the context, such as the token.
func requestOf(ctx context.Context, message any) *connect.Request[envelope] {
	request := connect.NewRequest(&envelope{sent: message.(proto.Message)})
	sent, _ := metadata.FromOutgoingContext(ctx)
	for key, values := range sent {
		for _, value := range values {
			if strings.HasSuffix(key, "-bin") {
				value = connect.EncodeBinaryHeader([]byte(value))
			}
			request.Header().Add(key, value)
		}
	}
	return request
}

func decode(received *envelope, reply any) error {
	if err := proto.Unmarshal(received.received, reply.(proto.Message)); err != nil {
		return status.Error(codes.Internal, "cannot decode the response: "+err.Error())
	}
	return nil
}

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

// webError is an error of connect-go as a gRPC status, with its cause.
type webError struct {
	status *status.Status
	cause  error
}

func (failure *webError) Error() string { return failure.status.Err().Error() }

func (failure *webError) GRPCStatus() *status.Status { return failure.status }

func (failure *webError) Unwrap() error { return failure.cause }

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
	if !connect.IsWireError(err) && ctx.Err() == nil {
		response.Code = int32(localCode(err, codes.Code(response.Code)))
	}
	return &webError{status.FromProto(response), err}
}

// localCode returns the code that grpc-go uses for a failure that is not the server's: UNAVAILABLE for a lost
// connection. connect-go has other codes for some.
func localCode(err error, code codes.Code) codes.Code {
	var (
		response *responseError
		network  net.Error
		system   syscall.Errno
	)
	switch {
	case errors.As(err, &response):
		return response.code()
	case strings.HasPrefix(connectMessage(err), "decompress"), strings.HasPrefix(connectMessage(err), "get decompressor"):
		// The end of compressed bytes that are not complete looks like the end of a connection.
		return codes.Internal
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &network), errors.As(err, &system),
		errors.Is(err, net.ErrClosed), strings.Contains(err.Error(), "stream error: "):
		return codes.Unavailable
	case code == codes.InvalidArgument:
		// connect-go could not decode the message.
		return codes.Internal
	default:
		return code
	}
}

func connectMessage(err error) string {
	if known, isKnown := err.(*connect.Error); isKnown {
		return known.Message()
	}
	return err.Error()
}

// checkedTransport turns a response that is not gRPC-Web, such as the page of a proxy, into an error.
type checkedTransport struct{ inner http.RoundTripper }

func (transport checkedTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := transport.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	contentType := response.Header.Get("Content-Type")
	if response.StatusCode == http.StatusOK && strings.HasPrefix(contentType, "application/grpc-web") {
		return response, nil
	}
	defer response.Body.Close()
	if response.StatusCode == http.StatusBadRequest {
		text, _ := io.ReadAll(io.LimitReader(response.Body, maxTextBytes))
		if strings.Contains(string(text), tlsRequiredText) {
			return nil, errExpectsTLS
		}
	}
	return nil, &responseError{response.StatusCode, contentType}
}
