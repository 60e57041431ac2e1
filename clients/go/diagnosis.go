package taraexport

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
)

// A failure that the server did not send: an error of the connection, of a proxy, or of this client's own libraries.
// Every error of the server has a reason, so these have none.
type diagnosis struct {
	// Whether a retry may succeed.
	isLost bool
	// A reason of this client.
	reason string
	// What to do.
	advice string
	// The HTTP status of a proxy's response; 0 if there is none.
	httpStatus int
}

// What to do, by cause.
const (
	adviceAddress     = "check the server's address, and the proxy in front of it"
	adviceUnreachable = "check that the server is running and that its address is right"
	adviceHost        = "check the host in the server's address"
	adviceAuthority   = "check that the address has the name in the server's certificate, and set the certificate " +
		"authority that issued it with WithCertificateAuthorities"
	adviceClientCertificate = "the server requires a client certificate of an authority that it trusts: set one with " +
		"WithClientCertificate"
	advicePlainServer = "the server does not use TLS at this address: use http://, or the port with TLS"
	adviceTLSServer   = "the server does not speak gRPC without TLS at this address: use https:// if it has TLS, or " +
		"WithGRPCWeb if a proxy supports only HTTP/1.1"
	adviceTLS     = "check the certificates and the TLS versions of the server and of this client"
	adviceHeaders = "the response headers are beyond the limit of 64 KiB: remove headers that a proxy adds"
	adviceMessage = "the limit is 64 MiB: request fewer exports per page, or download a file instead of the report"
	adviceRequest = "the limit is 64 MiB: upload large documents before the request"
)

// diagnose finds the cause of a failure without a reason.
func diagnose(err error, code codes.Code, message string) diagnosis {
	if result, isKnown := diagnoseCause(err); isKnown {
		return result
	}
	if strings.Contains(message, errExpectsTLS.Error()) {
		return diagnosis{reason: ReasonTLS, advice: adviceTLSServer}
	}
	if match := httpStatusText.FindStringSubmatch(message); match != nil {
		if number, err := strconv.Atoi(match[1]); err == nil {
			return diagnoseHTTP(number)
		}
	}
	if _, alert, isAlert := strings.Cut(message, alertText); isAlert {
		return diagnoseAlert(alert)
	}
	if match := malformedText.FindStringSubmatch(message); match != nil {
		switch {
		case strings.HasPrefix(match[1], alertOfTLS):
			return diagnosis{reason: ReasonTLS, advice: adviceTLSServer}
		case strings.HasPrefix("HTTP/", match[1]):
			// The connection ended after the first bytes.
			return diagnosis{isLost: true}
		default:
			return diagnosis{reason: ReasonInvalidResponse, advice: adviceAddress}
		}
	}
	for _, known := range knownTexts {
		if strings.Contains(message, known.text) {
			return known.diagnosis
		}
	}
	switch code {
	case codes.Unavailable:
		return diagnosis{isLost: true}
	case codes.Canceled:
		// The caller's own cancellation is known earlier.
		return diagnosis{isLost: true}
	case codes.Unknown:
		// A stream that a proxy ended without a status.
		return diagnosis{isLost: message == "", reason: ReasonInvalidResponse, advice: adviceAddress}
	case codes.Internal, codes.DataLoss, codes.ResourceExhausted:
		return diagnosis{reason: ReasonInvalidResponse, advice: adviceAddress}
	default:
		return diagnosis{}
	}
}

// diagnoseCause finds the cause in errors of the standard library, which connect-go passes on.
func diagnoseCause(err error) (diagnosis, bool) {
	var (
		response    *responseError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	switch {
	case errors.As(err, &response):
		return diagnoseHTTP(response.status), true
	case errors.As(err, &name):
		return diagnosis{isLost: !name.IsNotFound, reason: ReasonHostNotFound, advice: adviceHost}, true
	case errors.As(err, &certificate), errors.As(err, &authority):
		return diagnosis{reason: ReasonTLS, advice: adviceAuthority}, true
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return diagnosis{reason: ReasonTLS, advice: advicePlainServer}, true
	case errors.As(err, &alert):
		return diagnoseAlert(alert.Error()), true
	}
	return diagnosis{}, false
}

func diagnoseAlert(text string) diagnosis {
	// A certificate of another authority with the same name has a wrong signature: "error decrypting message".
	for _, about := range []string{"certificate", "unknown CA", "error decrypting message", "access denied"} {
		if strings.Contains(text, about) {
			return diagnosis{reason: ReasonTLS, advice: adviceClientCertificate}
		}
	}
	return diagnosis{reason: ReasonTLS, advice: adviceTLS}
}

// The text of the server's alert in crypto/tls.
const alertText = "remote error: tls: "

// The first bytes of an alert of TLS, as net/http quotes them.
const alertOfTLS = `\x15\x03`

var malformedText = regexp.MustCompile(`malformed HTTP response "(.*)"`)

var httpStatusText = regexp.MustCompile(`unexpected HTTP status code received from server: (\d{3})`)

// diagnoseHTTP finds the cause of a response of a proxy or of another HTTP server.
func diagnoseHTTP(number int) diagnosis {
	switch number {
	case http.StatusOK:
		return diagnosis{reason: ReasonInvalidResponse, advice: adviceAddress}
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return diagnosis{reason: ReasonHTTP, advice: "check the server's address: use the final one"}
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnsupportedMediaType:
		return diagnosis{reason: ReasonHTTP, advice: "check the server's address and protocol"}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return diagnosis{reason: ReasonHTTP, advice: "a proxy refuses the call: give it the credentials that it needs"}
	case http.StatusRequestEntityTooLarge:
		return diagnosis{reason: ReasonHTTP, advice: "raise the proxy's limit of request bodies (nginx: " +
			"client_max_body_size), or use native gRPC", httpStatus: number}
	case http.StatusRequestHeaderFieldsTooLarge:
		return diagnosis{reason: ReasonHTTP, advice: "the request's headers are too large: use a shorter token, or raise " +
			"the proxy's limit"}
	case http.StatusTooManyRequests:
		return diagnosis{isLost: true, reason: ReasonHTTP, advice: "send fewer calls, or raise the proxy's limit"}
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return diagnosis{isLost: true, reason: ReasonHTTP, advice: "check that the server is running, and the proxy's " +
			"address of it"}
	case http.StatusGatewayTimeout:
		return diagnosis{isLost: true, reason: ReasonHTTP, advice: "raise the proxy's timeout (nginx: proxy_read_timeout)"}
	default:
		return diagnosis{reason: ReasonHTTP, advice: "check the proxy's log"}
	}
}

// knownTexts are messages of grpc-go, which keeps no causes, of connect-go and of net/http. The first match counts.
var knownTexts = []struct {
	text string
	diagnosis
}{
	// An error of decompression can contain "unexpected EOF", so these are first.
	{"ecompress", diagnosis{reason: ReasonInvalidResponse, advice: "the compression cannot be read: " + adviceAddress}},
	{"unknown encoding", diagnosis{reason: ReasonInvalidResponse, advice: "the compression is unknown: " + adviceAddress}},
	{"no such host", diagnosis{reason: ReasonHostNotFound, advice: adviceHost}},
	{"produced zero addresses", diagnosis{reason: ReasonHostNotFound, advice: adviceHost}},
	{"tls: first record does not look like a TLS handshake", diagnosis{reason: ReasonTLS, advice: advicePlainServer}},
	{"x509: ", diagnosis{reason: ReasonTLS, advice: adviceAuthority}},
	{"tls: failed to verify certificate", diagnosis{reason: ReasonTLS, advice: adviceAuthority}},
	{"tls: ", diagnosis{reason: ReasonTLS, advice: adviceTLS}},
	{tlsRequiredText, diagnosis{reason: ReasonTLS, advice: adviceTLSServer}},
	{errExpectsTLS.Error(), diagnosis{reason: ReasonTLS, advice: adviceTLSServer}},
	{errExpectsHTTP1.Error(), diagnosis{reason: ReasonInvalidResponse, advice: adviceTLSServer}},
	{"http2: frame too large", diagnosis{reason: ReasonInvalidResponse, advice: adviceTLSServer}},
	{"header list size exceeded limit", diagnosis{reason: ReasonResponseTooLarge, advice: adviceHeaders}},
	{"server response headers exceeded", diagnosis{reason: ReasonResponseTooLarge, advice: adviceHeaders}},
	// A header that is larger than the limit alone.
	{"connection error: COMPRESSION_ERROR", diagnosis{reason: ReasonResponseTooLarge, advice: adviceHeaders}},
	{"received message larger than max", diagnosis{reason: ReasonResponseTooLarge, advice: adviceMessage}},
	{"larger than configured max", diagnosis{reason: ReasonResponseTooLarge, advice: adviceMessage}},
	{"trying to send message larger than max", diagnosis{reason: ReasonRequestTooLarge, advice: adviceRequest}},
	{"error while marshaling", diagnosis{advice: "the request has a value that cannot be encoded"}},
	// grpc-go cannot read a frame. A connection that the server ends has other texts.
	{"error reading from server: connection error: ", diagnosis{reason: ReasonInvalidResponse, advice: adviceAddress}},
	{"error reading server preface", diagnosis{isLost: true, advice: adviceUnreachable}},
	{"connection refused", diagnosis{isLost: true, advice: adviceUnreachable}},
	{"no such file or directory", diagnosis{isLost: true, advice: adviceUnreachable}},
	{"server closed the stream without sending trailers", diagnosis{isLost: true}},
	{"stream terminated by RST_STREAM", diagnosis{isLost: true}},
	{"no Grpc-Status trailer", diagnosis{isLost: true}},
	{"unexpected EOF", diagnosis{isLost: true}},
}

// responseError is a response that is not gRPC-Web.
type responseError struct {
	status      int
	contentType string
}

func (failure *responseError) Error() string {
	text := fmt.Sprintf("HTTP status %d (%s)", failure.status, http.StatusText(failure.status))
	if failure.contentType != "" {
		text += fmt.Sprintf(" with content type %q", failure.contentType)
	}
	return text
}

// code returns the code that grpc-go uses for this HTTP status.
func (failure *responseError) code() codes.Code {
	switch failure.status {
	case http.StatusBadRequest:
		return codes.Internal
	case http.StatusUnauthorized:
		return codes.Unauthenticated
	case http.StatusForbidden:
		return codes.PermissionDenied
	case http.StatusNotFound:
		return codes.Unimplemented
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return codes.Unavailable
	default:
		return codes.Unknown
	}
}

// The longest text of a response that is read, in bytes.
const maxTextBytes = 4 * 1024

// In the response of a tara-export server to a call without TLS on its port with TLS.
const tlsRequiredText = "this port requires TLS"

// errExpectsTLS is the error of a connection whose server expects TLS.
var errExpectsTLS = errors.New("the server expects TLS")

// errExpectsHTTP1 is the error of a connection whose first bytes are a response of HTTP/1.
var errExpectsHTTP1 = errors.New("the server speaks HTTP/1 only")

// plainCredentials are grpc-go's credentials without security. They recognize servers that expect TLS or HTTP/1: those
// close the connection after a few bytes, which looks like a lost connection.
type plainCredentials struct {
	credentials.TransportCredentials
}

func (plain plainCredentials) ClientHandshake(
	ctx context.Context, authority string, connection net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	connection, info, err := plain.TransportCredentials.ClientHandshake(ctx, authority, connection)
	if err != nil {
		return nil, nil, err
	}
	return &checkedConnection{Conn: connection}, info, nil
}

func (plain plainCredentials) Clone() credentials.TransportCredentials {
	return plainCredentials{plain.TransportCredentials.Clone()}
}

type checkedConnection struct {
	net.Conn
	hasRead bool
}

func (connection *checkedConnection) Read(buffer []byte) (int, error) {
	read, err := connection.Conn.Read(buffer)
	if connection.hasRead || read == 0 {
		return read, err
	}
	connection.hasRead = true
	start := string(buffer[:min(read, 5)])
	// A tara-export server responds with HTTP/2's GOAWAY, whose text grpc-go does not report.
	if strings.HasPrefix(start, "\x15\x03") || bytes.Contains(buffer[:read], []byte(tlsRequiredText)) {
		return 0, errExpectsTLS
	}
	if start == "HTTP/" {
		return 0, errExpectsHTTP1
	}
	return read, err
}

// alertingCredentials are credentials with TLS that find the server's reason for the end of a connection. With TLS 1.3
// a server rejects the client's certificate after the client has completed the handshake, so that the first write can
// fail before the reason is read.
type alertingCredentials struct {
	credentials.TransportCredentials
}

func (secure alertingCredentials) ClientHandshake(
	ctx context.Context, authority string, connection net.Conn,
) (net.Conn, credentials.AuthInfo, error) {
	connection, info, err := secure.TransportCredentials.ClientHandshake(ctx, authority, connection)
	if err != nil {
		return nil, nil, err
	}
	return &alertingConnection{Conn: connection, ended: make(chan struct{})}, info, nil
}

func (secure alertingCredentials) Clone() credentials.TransportCredentials {
	return alertingCredentials{secure.TransportCredentials.Clone()}
}

// The time to wait for the server's reason. It was sent before the connection ended.
const alertTimeout = time.Second

type alertingConnection struct {
	net.Conn
	// Closed after the first failed read.
	ended   chan struct{}
	once    sync.Once
	failure error
}

func (connection *alertingConnection) Read(buffer []byte) (int, error) {
	read, err := connection.Conn.Read(buffer)
	if err != nil {
		connection.once.Do(func() {
			connection.failure = err
			close(connection.ended)
		})
	}
	return read, err
}

func (connection *alertingConnection) Write(data []byte) (int, error) {
	written, err := connection.Conn.Write(data)
	if err == nil {
		return written, nil
	}
	select {
	case <-connection.ended:
		if strings.Contains(connection.failure.Error(), alertText) {
			err = connection.failure
		}
	case <-time.After(alertTimeout):
	}
	return written, err
}

// The texts with which grpc-go surrounds a cause.
var aroundCause = regexp.MustCompile(`^max retries exhausted: failed after \d+ attempts: rpc error: code = \w+ desc = `)

// causeText returns grpc-go's text without the parts that do not help.
func causeText(message string) string {
	message = aroundCause.ReplaceAllString(message, "")
	if inner, isQuoted := strings.CutPrefix(message, `connection error: desc = `); isQuoted {
		if text, err := strconv.Unquote(inner); err == nil {
			message = text
		}
	}
	return message
}
