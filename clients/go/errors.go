package taraexport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reasons of errors that this client detects. The project's README lists the server's reasons.
const (
	// ReasonLostContact: no progress within the timeout, so the client stopped waiting. An export may
	// still be running: follow it later, or send it again with the same request id.
	ReasonLostContact = "LOST_CONTACT"
	// ReasonDamaged: the received bytes do not match the size or digest that the server reported.
	ReasonDamaged = "DAMAGED"
	// ReasonUntrustedResponse: a response that no tara-export server sends, such as a path outside of
	// its folder. It was discarded.
	ReasonUntrustedResponse = "UNTRUSTED_RESPONSE"
	// ReasonRequestTooLarge: the request is larger than any server accepts.
	ReasonRequestTooLarge = "REQUEST_TOO_LARGE"
	// ReasonTokenUnavailable: the source of the token failed, or its token cannot be sent. The cause is its error.
	ReasonTokenUnavailable = "TOKEN_UNAVAILABLE"
	// ReasonTLS: no connection, because of TLS or a certificate.
	ReasonTLS = "TLS_FAILED"
	// ReasonHostNotFound: the host in the server's address does not exist.
	ReasonHostNotFound = "HOST_NOT_FOUND"
	// ReasonInvalidResponse: not a response of tara-export, such as a web page, or one that the client cannot read.
	ReasonInvalidResponse = "INVALID_RESPONSE"
	// ReasonHTTP: a proxy responded with another HTTP status than 200.
	ReasonHTTP = "HTTP_ERROR"
	// ReasonResponseTooLarge: the response is larger than the client accepts.
	ReasonResponseTooLarge = "RESPONSE_TOO_LARGE"
)

// Error is a failed call: the gRPC status with its google.rpc details. Get it with [errors.As]. If the
// caller's context ended the call, [errors.Is] reports [context.Canceled] or
// [context.DeadlineExceeded].
type Error struct {
	// Code is the gRPC code. It is UNAVAILABLE for a lost connection.
	Code codes.Code
	// Message is a human-readable description of the problem.
	Message string
	// Reason is the UPPER_SNAKE reason of google.rpc.ErrorInfo, such as REQUEST_ID_REUSED, or a reason
	// of this package.
	Reason string
	// Metadata is the metadata of google.rpc.ErrorInfo, such as "export".
	Metadata map[string]string
	// FieldViolations has every violated field of google.rpc.BadRequest.
	FieldViolations []FieldViolation
	// RetryDelay is the delay before a retry, from google.rpc.RetryInfo; 0 if the server sent none.
	RetryDelay time.Duration
	// Err is the cause.
	Err error
	// Whether the connection was lost, so that a retry may succeed.
	isLost bool
	// The HTTP status of a proxy that limits the size of requests; otherwise 0.
	httpStatus int
}

// FieldViolation is one violated field of a request.
type FieldViolation struct {
	// Field is the field's path in the request.
	Field string
	// Description is a human-readable description of the problem.
	Description string
}

func (failure *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s (%s", Printable(failure.Message), failure.Code)
	if failure.Reason != "" {
		fmt.Fprintf(&text, ", %s", Printable(failure.Reason))
	}
	text.WriteString(")")
	for _, violation := range failure.FieldViolations {
		fmt.Fprintf(&text, "; %s: %s", Printable(violation.Field), Printable(violation.Description))
	}
	if cause := (*Error)(nil); errors.As(failure.Err, &cause) {
		fmt.Fprintf(&text, ": %s", cause)
	}
	return text.String()
}

func (failure *Error) Unwrap() error { return failure.Err }

// GRPCStatus converts the error for grpc's status package.
func (failure *Error) GRPCStatus() *status.Status { return status.New(failure.Code, failure.Error()) }

// isRetryable reports whether a retry may succeed: the server is unavailable, or the connection was lost.
func (failure *Error) isRetryable() bool { return failure.isLost }

// The caller's context ended.
var errCaller = errors.New("canceled by the caller")

// A response that violates the protocol.
var errProtocol = errors.New("invalid response from the server")

func protocolError(message string) *Error {
	return &Error{Code: codes.Internal, Message: errProtocol.Error() + ": " + message, Err: errProtocol}
}

// connectionLost is the error of a call that ended without a status.
func connectionLost(message string) *Error {
	return &Error{Code: codes.Unavailable, Message: message, isLost: true}
}

// errorFrom converts any failure of a call with this context to an [*Error].
func errorFrom(ctx context.Context, err error) *Error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known
	}
	received := status.Convert(err)
	failure := &Error{Code: received.Code(), Message: received.Message(), Err: err}
	if ended := ctx.Err(); ended != nil {
		failure.Code = status.FromContextError(ended).Code()
		failure.Err = errors.Join(errCaller, context.Cause(ctx), ended)
		return failure
	}
	for _, detail := range received.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason, failure.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.RetryInfo:
			failure.RetryDelay = detail.GetRetryDelay().AsDuration()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				failure.FieldViolations = append(failure.FieldViolations,
					FieldViolation{violation.GetField(), violation.GetDescription()})
			}
		}
	}
	if failure.Reason != "" {
		failure.isLost = failure.Code == codes.Unavailable
		return failure
	}
	found := diagnose(err, failure.Code, failure.Message)
	failure.isLost, failure.Reason, failure.httpStatus = found.isLost, found.reason, found.httpStatus
	failure.Message = causeText(failure.Message)
	if addressed := (*addressedError)(nil); errors.As(err, &addressed) && (found.reason != "" || found.advice != "") {
		failure.Message = addressed.server + ": " + failure.Message
	}
	if found.advice != "" {
		failure.Message += "; " + found.advice
	}
	return failure
}
