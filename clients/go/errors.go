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

// Reasons that this client gives itself; the server's are in the README of the project.
const (
	// ReasonLostContact: nothing was heard for so long that it is no longer waited for. An export may
	// still go on: follow it later, or send it again with the same request id.
	ReasonLostContact = "LOST_CONTACT"
	// ReasonDamaged: other bytes arrived than the server says the file has.
	ReasonDamaged = "DAMAGED"
	// ReasonUntrusted: an answer that no tara-export server gives, such as a path that leads out of its
	// folder. Nothing of it was used.
	ReasonUntrusted = "UNTRUSTED_ANSWER"
	// ReasonNotExact: the request has a number that can't be sent without rounding it.
	ReasonNotExact = "NOT_EXACT"
	// ReasonRequestTooLarge: the request is larger than any server takes.
	ReasonRequestTooLarge = "REQUEST_TOO_LARGE"
)

// Error says why a call failed: the gRPC status with its google.rpc details. Get at it with
// [errors.As]; what the caller's own context ended is [context.Canceled] or
// [context.DeadlineExceeded] to [errors.Is].
type Error struct {
	// Code is the gRPC code. A connection that was cut has UNAVAILABLE.
	Code codes.Code
	// Message says what is wrong, for a person.
	Message string
	// Reason is the UPPER_SNAKE reason of google.rpc.ErrorInfo, such as REQUEST_ID_REUSED, or one of
	// this package's.
	Reason string
	// Metadata is what google.rpc.ErrorInfo says besides, such as "export".
	Metadata map[string]string
	// FieldViolations has every wrong field of a bad request.
	FieldViolations []FieldViolation
	// RetryDelay is how long to wait before trying again; 0: the server doesn't say.
	RetryDelay time.Duration
	// Err is the cause.
	Err error
}

// FieldViolation is one wrong field of a request.
type FieldViolation struct {
	// Field is the field's path in the request.
	Field string
	// Description says what is wrong with it, for a person.
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

// GRPCStatus lets the functions of grpc's package status read the error.
func (failure *Error) GRPCStatus() *status.Status { return status.New(failure.Code, failure.Error()) }

// isLost tells whether the server is away or the call was cut, so that the same may work a moment
// later. Every error of the server itself has a reason: without one, codes such as INTERNAL come from
// a connection that ended in the middle.
func (failure *Error) isLost() bool {
	switch failure.Code {
	case codes.Unavailable:
		return true
	case codes.Internal, codes.Unknown, codes.Canceled:
		return failure.Reason == "" && !errors.Is(failure.Err, errCaller) && !errors.Is(failure.Err, errProtocol)
	default:
		return false
	}
}

// What the caller's context ended.
var errCaller = errors.New("given up by the caller")

// An answer that the protocol does not allow.
var errProtocol = errors.New("the server sent an answer that makes no sense")

func protocolError(message string) *Error {
	return &Error{Code: codes.Internal, Message: errProtocol.Error() + ": " + message, Err: errProtocol}
}

// lost is a call that was cut without a status.
func lost(message string) *Error { return &Error{Code: codes.Unavailable, Message: message} }

// errorFrom is any failure of a call made with the context as an [*Error].
func errorFrom(ctx context.Context, err error) *Error {
	if known := (*Error)(nil); errors.As(err, &known) {
		return known
	}
	answer := status.Convert(err)
	failure := &Error{Code: answer.Code(), Message: answer.Message(), Err: err}
	if ended := ctx.Err(); ended != nil {
		failure.Code = status.FromContextError(ended).Code()
		failure.Err = errors.Join(errCaller, context.Cause(ctx), ended)
		return failure
	}
	for _, detail := range answer.Details() {
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
	return failure
}
