package taraexport

import (
	"context"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// addressedConnection adds the server's address to errors, which a library may not contain.
type addressedConnection struct {
	inner  grpc.ClientConnInterface
	server string
}

// addressedError is an error of a call to this server. Its status is the cause's.
type addressedError struct {
	server string
	cause  error
}

func (failure *addressedError) Error() string { return failure.server + ": " + failure.cause.Error() }

func (failure *addressedError) Unwrap() error { return failure.cause }

func (failure *addressedError) GRPCStatus() *status.Status { return status.Convert(failure.cause) }

func (connection *addressedConnection) addressed(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &addressedError{connection.server, err}
}

func (connection *addressedConnection) Invoke(
	ctx context.Context, method string, request, reply any, options ...grpc.CallOption,
) error {
	return connection.addressed(connection.inner.Invoke(ctx, method, request, reply, options...))
}

func (connection *addressedConnection) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := connection.inner.NewStream(ctx, description, method, options...)
	if err != nil {
		return nil, connection.addressed(err)
	}
	return &addressedStream{stream, connection}, nil
}

type addressedStream struct {
	grpc.ClientStream
	connection *addressedConnection
}

func (stream *addressedStream) SendMsg(request any) error {
	return stream.connection.addressed(stream.ClientStream.SendMsg(request))
}

func (stream *addressedStream) RecvMsg(reply any) error {
	return stream.connection.addressed(stream.ClientStream.RecvMsg(reply))
}
