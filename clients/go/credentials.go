package taraexport

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// The variables of [WithEnvironment], which the commands of tara-export read too.
const (
	tokenVariable             = "TARA_EXPORT_TOKEN"
	tokenFileVariable         = "TARA_EXPORT_TOKEN_FILE"
	authoritiesFileVariable   = "TARA_EXPORT_TLS_CA_FILE"
	clientCertificateVariable = "TARA_EXPORT_TLS_CLIENT_CERT_FILE"
	clientKeyVariable         = "TARA_EXPORT_TLS_CLIENT_KEY_FILE"
	allowInsecureVariable     = "TARA_EXPORT_ALLOW_INSECURE_TOKEN"
)

// Limit for a token. Servers and proxies accept less in a header.
const maxTokenBytes = 16 * 1024

// TokenSource returns the bearer token of a call. It is called for every call, by several goroutines at once, and
// once more if the server rejects the token. An error of it ends the call: [errors.Is] finds it. The context ends
// with the call.
type TokenSource func(context.Context) (string, error)

// WithToken sends a bearer token with every call.
func WithToken(token string) Option {
	return func(config *settings) {
		config.tokens = func(context.Context) (string, error) { return token, nil }
		// A wrong token is reported by Connect. It stays the same, so it is not requested again.
		config.tokenOnce, config.isTokenFixed = config.tokens, true
	}
}

// WithTokenSource requests a bearer token for every call, for tokens that expire.
func WithTokenSource(source TokenSource) Option {
	return func(config *settings) {
		config.tokens, config.tokenOnce, config.isTokenFixed = source, nil, false
	}
}

// WithTokenFile reads a bearer token from a file for every call, so that a renewed one is used. The file has at most
// 16 KiB. White space around the token is ignored.
func WithTokenFile(path string) Option {
	return func(config *settings) {
		config.tokens = func(context.Context) (string, error) { return readToken(path) }
		config.tokenOnce, config.isTokenFixed = config.tokens, false
	}
}

func readToken(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxTokenBytes+1))
	if err != nil {
		return "", err
	}
	if len(content) > maxTokenBytes {
		return "", fmt.Errorf("%s: a token file has at most %d bytes", path, maxTokenBytes)
	}
	return string(content), nil
}

// WithAllowInsecureToken allows to send the token without TLS to other machines, where another layer encrypts, such as
// the sidecar of a service mesh. Without one, everyone on the network can read the token.
func WithAllowInsecureToken() Option { return func(config *settings) { config.insecureToken = true } }

// WithTLS enables TLS with this configuration. An https:// URL enables TLS without it. The minimum version is 1.2
// unless the configuration sets another.
func WithTLS(base *tls.Config) Option {
	return func(config *settings) { config.tls = base.Clone() }
}

// WithCertificateAuthorities trusts only the authorities of these PEM certificates instead of the system's.
func WithCertificateAuthorities(pem []byte) Option {
	return func(config *settings) { config.authorities = pem }
}

// WithClientCertificate authenticates with a certificate, followed by its intermediate certificates, and its private
// key, both PEM (mutual TLS).
func WithClientCertificate(certificates, key []byte) Option {
	return func(config *settings) { config.certificates, config.key = certificates, key }
}

// WithEnvironment reads the token and the certificates from the variables of the tara-export commands, as far as they
// are set: TARA_EXPORT_TOKEN_FILE or TARA_EXPORT_TOKEN, TARA_EXPORT_TLS_CA_FILE, TARA_EXPORT_TLS_CLIENT_CERT_FILE and
// TARA_EXPORT_TLS_CLIENT_KEY_FILE, TARA_EXPORT_ALLOW_INSECURE_TOKEN. The file takes precedence over the token. Connect
// fails if a file cannot be read.
func WithEnvironment() Option {
	return func(config *settings) {
		path, token := os.Getenv(tokenFileVariable), strings.TrimSpace(os.Getenv(tokenVariable))
		switch {
		case path != "":
			WithTokenFile(path)(config)
		case token != "":
			WithToken(token)(config)
		}
		if strings.EqualFold(os.Getenv(allowInsecureVariable), "true") {
			config.insecureToken = true
		}
		read := func(variable string) []byte {
			path := os.Getenv(variable)
			if path == "" {
				return nil
			}
			content, err := os.ReadFile(path)
			if err != nil {
				config.problems = append(config.problems, fmt.Errorf("%s: %w", variable, err))
			}
			return content
		}
		if pem := read(authoritiesFileVariable); pem != nil {
			config.authorities = pem
		}
		certificates, key := read(clientCertificateVariable), read(clientKeyVariable)
		if certificates != nil || key != nil {
			config.certificates, config.key = certificates, key
		}
	}
}

// tlsConfig returns the configuration of TLS for this address; nil without TLS.
func (config *settings) tlsConfig(server address) (*tls.Config, error) {
	isConfigured := config.tls != nil || config.authorities != nil || config.certificates != nil || config.key != nil
	if isConfigured && server.isPlain {
		return nil, errors.New("certificates and TLS require an https:// URL, not http://")
	}
	if !isConfigured && !server.isTLS {
		return nil, nil
	}
	result := config.tls
	if result == nil {
		result = &tls.Config{}
	}
	if result.MinVersion == 0 {
		result.MinVersion = tls.VersionTLS12
	}
	if config.authorities != nil {
		result.RootCAs = x509.NewCertPool()
		if !result.RootCAs.AppendCertsFromPEM(config.authorities) {
			return nil, errors.New("cannot use the certificate authorities: the text has no PEM certificate")
		}
	}
	if config.certificates != nil || config.key != nil {
		pair, err := tls.X509KeyPair(config.certificates, config.key)
		if err != nil {
			return nil, fmt.Errorf("cannot use the client certificate: %w", err)
		}
		result.Certificates = []tls.Certificate{pair}
	}
	return result, nil
}

// checkToken reports a token that cannot be sent before the first call.
func (config *settings) checkToken(server address, isTLS bool) error {
	if config.tokens == nil {
		return nil
	}
	if !isTLS && !server.isLocal && !config.insecureToken {
		return errors.New("a token requires TLS, because everyone on the way could read it: use an https:// URL, or " +
			"allow it with WithAllowInsecureToken")
	}
	if config.tokenOnce == nil {
		return nil
	}
	token, err := config.tokenOnce(context.Background())
	if err == nil {
		_, err = authorization(token)
	}
	if err != nil {
		return fmt.Errorf("cannot use the token: %w", err)
	}
	return nil
}

// authorization returns the header's value. Its errors do not contain the token.
func authorization(token string) (string, error) {
	token = strings.TrimSpace(token)
	if token == "" {
		return "", errors.New("it is empty")
	}
	if len(token) > maxTokenBytes {
		return "", fmt.Errorf("it has %d bytes; the limit is %d", len(token), maxTokenBytes)
	}
	for index := range len(token) {
		if token[index] <= ' ' || token[index] > '~' {
			return "", fmt.Errorf("its byte %d is not a visible ASCII character", index+1)
		}
	}
	return "Bearer " + token, nil
}

// authorizedConnection adds a token to each call of a connection.
type authorizedConnection struct {
	inner   grpc.ClientConnInterface
	tokens  TokenSource
	isFixed bool
	policy  Policy
}

// request requests a token and returns it as a header.
func (connection *authorizedConnection) request(ctx context.Context) (string, error) {
	limited, cancel := context.WithTimeout(ctx, connection.policy.Deadline)
	defer cancel()
	token, err := connection.tokens(limited)
	header := ""
	if err == nil {
		header, err = authorization(token)
	}
	if err == nil {
		return header, nil
	}
	if ctx.Err() != nil {
		return "", errorFrom(ctx, ctx.Err())
	}
	message := "cannot get the token: " + err.Error()
	return "", &Error{Code: codes.Unauthenticated, Reason: ReasonTokenUnavailable, Message: message, Err: err}
}

// replace requests another token after this failure. It returns the failure if there is no other.
func (connection *authorizedConnection) replace(ctx context.Context, header string, failure error) (string, error) {
	if connection.isFixed || status.Code(failure) != codes.Unauthenticated {
		return "", failure
	}
	other, err := connection.request(ctx)
	if err == nil && other == header {
		err = failure
	}
	return other, err
}

func withHeader(ctx context.Context, header string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", header)
}

// Invoke makes a unary call. If the server rejects the token, it makes the call once more with another.
func (connection *authorizedConnection) Invoke(
	ctx context.Context, method string, request, reply any, options ...grpc.CallOption,
) error {
	header, err := connection.request(ctx)
	if err != nil {
		return err
	}
	err = connection.inner.Invoke(withHeader(ctx, header), method, request, reply, options...)
	if err == nil {
		return nil
	}
	if header, err = connection.replace(ctx, header, err); err != nil {
		return err
	}
	return connection.inner.Invoke(withHeader(ctx, header), method, request, reply, options...)
}

// NewStream starts a stream. If the server rejects the token of a call with one request, the call is made once more
// with another. A stream of requests cannot be repeated here: the uploader resumes it.
func (connection *authorizedConnection) NewStream(
	ctx context.Context, description *grpc.StreamDesc, method string, options ...grpc.CallOption,
) (grpc.ClientStream, error) {
	header, err := connection.request(ctx)
	if err != nil {
		return nil, err
	}
	stream, err := connection.inner.NewStream(withHeader(ctx, header), description, method, options...)
	if err != nil || description.ClientStreams || connection.isFixed {
		return stream, err
	}
	reopen := func(failure error) (grpc.ClientStream, error) {
		header, err := connection.replace(ctx, header, failure)
		if err != nil {
			return nil, err
		}
		return connection.inner.NewStream(withHeader(ctx, header), description, method, options...)
	}
	return &refreshedStream{ClientStream: stream, reopen: reopen}, nil
}

// refreshedStream is a server stream that starts once more if its first response is the rejection of the token.
type refreshedStream struct {
	grpc.ClientStream
	// Starts the stream again after a failure, or returns the failure; nil after the first response.
	reopen  func(error) (grpc.ClientStream, error)
	request any
}

func (stream *refreshedStream) SendMsg(request any) error {
	stream.request = request
	return stream.ClientStream.SendMsg(request)
}

func (stream *refreshedStream) RecvMsg(reply any) error {
	err := stream.ClientStream.RecvMsg(reply)
	reopen := stream.reopen
	stream.reopen = nil
	if err == nil || reopen == nil {
		return err
	}
	again, err := reopen(err)
	if err != nil {
		return err
	}
	stream.ClientStream = again
	// io.EOF: the call ended, and RecvMsg returns its error.
	if err := again.SendMsg(stream.request); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := again.CloseSend(); err != nil {
		return err
	}
	return again.RecvMsg(reply)
}
