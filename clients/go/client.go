// Package taraexport is a client of tara-export, which exports completed document reviews as audit
// bundles. [Client.Export] uploads large documents, follows the export over lost connections and server
// restarts, and returns the bundle.
package taraexport

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// The largest message that the client sends or accepts. Servers have lower limits.
const maxMessageBytes = 64 * 1024 * 1024

// The largest headers, or trailers, of a response. Servers send at most 8 KiB; proxies may add some.
const maxHeaderBytes = 64 * 1024

const connectTimeout = 10 * time.Second

// A silently lost connection is detected after twice this interval.
const keepaliveInterval = 20 * time.Second

// Client is a client of a tara-export server. It is safe for concurrent use.
type Client struct {
	service    exportv1.ExportServiceClient
	automation exportv1.AutomationServiceClient
	policy     Policy
	// Whether documents are uploaded in chunks, because there are no client streams.
	chunked bool
	// Whether a proxy refused a large request, so that documents are uploaded in the smallest chunks.
	sendsSmallChunks *atomic.Bool
	// Whether a rejected token can be replaced by another.
	canRefreshToken bool
	close           func() error
}

type settings struct {
	policy      Policy
	web         bool
	httpClient  *http.Client
	dialOptions []grpc.DialOption
	// The source of the token; nil without one.
	tokens TokenSource
	// Checks a token that is already known when the client is created.
	tokenOnce    TokenSource
	isTokenFixed bool
	// Whether the token may be sent without TLS.
	insecureToken bool
	tls           *tls.Config
	authorities   []byte
	certificates  []byte
	key           []byte
	// Problems of options.
	problems []error
}

// Option configures a client.
type Option func(*settings)

// WithPolicy sets timeouts and retries.
func WithPolicy(policy Policy) Option { return func(config *settings) { config.policy = policy } }

// WithGRPCWeb uses gRPC-Web, for networks that support only HTTP/1.1. Documents are then uploaded in
// chunks instead of one stream. If client is nil, a default HTTP client is used.
func WithGRPCWeb(client *http.Client) Option {
	return func(config *settings) { config.web, config.httpClient = true, client }
}

// WithDialOptions adds options of grpc-go, such as credentials. They have no effect on gRPC-Web.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(config *settings) { config.dialOptions = append(config.dialOptions, options...) }
}

// Connect creates a client of the server at an address. The client connects at the first call and reconnects
// automatically.
//
// The address is a URL (http://127.0.0.1:8080, https://export.example.com), a host with an optional port, which is the
// same with http://, or another target of grpc-go (dns:///host:port, unix:/path). Only gRPC-Web supports a URL with a
// path. Connect fails if an option does not fit the address, such as a token without TLS.
func Connect(server string, options ...Option) (*Client, error) {
	config := settings{policy: DefaultPolicy()}
	for _, option := range options {
		option(&config)
	}
	if err := errors.Join(config.problems...); err != nil {
		return nil, err
	}
	address, err := parseAddress(server)
	if err != nil {
		return nil, err
	}
	if config.policy.MinDelay <= 0 || config.policy.MaxAttempts < 2 || config.policy.MaxAttempts > 5 {
		return nil, errors.New("a policy requires a positive MinDelay and MaxAttempts from 2 to 5")
	}
	tlsConfig, err := config.tlsConfig(address)
	if err != nil {
		return nil, err
	}
	if err := config.checkToken(address, tlsConfig != nil); err != nil {
		return nil, err
	}
	client := &Client{policy: config.policy, chunked: config.web, sendsSmallChunks: &atomic.Bool{}}
	var connection grpc.ClientConnInterface
	switch {
	case config.web && address.url == "":
		return nil, invalidAddress(server, "gRPC-Web requires http://, https:// or unix:")
	case config.web && config.httpClient != nil && config.tls != nil,
		config.web && config.httpClient != nil && config.authorities != nil,
		config.web && config.httpClient != nil && config.certificates != nil,
		config.web && config.httpClient != nil && address.socket != "":
		return nil, errors.New("set the certificates and the socket in the HTTP client, not with another option")
	case config.web:
		web := newWebConnection(address, config, tlsConfig)
		connection, client.close = web, web.close
	case address.target == "":
		return nil, invalidAddress(server, "gRPC has no path: use WithGRPCWeb")
	default:
		native, err := grpc.NewClient(address.target, dialOptions(tlsConfig, config)...)
		if err != nil {
			return nil, err
		}
		connection, client.close = native, native.Close
	}
	connection = &addressedConnection{connection, server}
	if config.tokens != nil {
		connection = &authorizedConnection{connection, config.tokens, config.isTokenFixed, config.policy}
		client.canRefreshToken = !config.isTokenFixed
	}
	client.service = exportv1.NewExportServiceClient(connection)
	client.automation = exportv1.NewAutomationServiceClient(connection)
	return client, nil
}

func dialOptions(tlsConfig *tls.Config, config settings) []grpc.DialOption {
	var transport credentials.TransportCredentials = plainCredentials{insecure.NewCredentials()}
	if tlsConfig != nil {
		transport = alertingCredentials{credentials.NewTLS(tlsConfig)}
	}
	reconnect := grpcbackoff.Config{
		BaseDelay: config.policy.MinDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: config.policy.MaxDelay,
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(config.policy.serviceConfig()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveInterval}),
		grpc.WithMaxHeaderListSize(maxHeaderBytes),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
	}
	return append(options, config.dialOptions...)
}

// Close closes the connection. Accepted exports continue.
func (client *Client) Close() error { return client.close() }

// Preview returns the files that an export would write and the options for the user, without writing
// anything.
func (client *Client) Preview(
	ctx context.Context, request *exportv1.PreviewExportRequest,
) (*exportv1.PreviewExportResponse, error) {
	return unary(ctx, client.service.PreviewExport, request)
}

// GetExport reads one export with its artifacts.
func (client *Client) GetExport(ctx context.Context, name string) (*exportv1.Export, error) {
	response, err := unary(ctx, client.service.GetExport, &exportv1.GetExportRequest{Name: name})
	if err != nil {
		return nil, err
	}
	if failure := checkExport(response.GetExport(), name); failure != nil {
		return nil, failure
	}
	return response.GetExport(), nil
}

// GetReport reads a bundle's report in the requested format.
func (client *Client) GetReport(
	ctx context.Context, name string, view exportv1.GetReportRequest_View,
) (*exportv1.GetReportResponse, error) {
	return unary(ctx, client.service.GetReport, &exportv1.GetReportRequest{Name: name, View: view})
}

// CheckStorage checks the server's stores. It returns one row per check, with a hint for each failure.
func (client *Client) CheckStorage(ctx context.Context) ([]*exportv1.StorageCheck, error) {
	response, err := unary(ctx, client.service.CheckStorage, &exportv1.CheckStorageRequest{})
	return response.GetChecks(), err
}

// CreateDownloadLink creates a link with which anyone can download one file of a bundle in S3 until the
// link expires. The response contains the actual expiry time.
func (client *Client) CreateDownloadLink(
	ctx context.Context, request *exportv1.CreateDownloadLinkRequest,
) (*exportv1.CreateDownloadLinkResponse, error) {
	response, err := unary(ctx, client.service.CreateDownloadLink, request)
	if err != nil {
		return nil, err
	}
	if violation := linkViolation(response.GetUri()); violation != "" {
		return nil, untrusted(request.GetName(), "uri %s %s", quoted(response.GetUri()), violation)
	}
	return response, nil
}

// unary makes a unary call and converts its error.
func unary[Request, Response any](
	ctx context.Context,
	call func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
) (*Response, error) {
	response, err := call(ctx, request)
	if err != nil {
		return nil, errorFrom(ctx, err)
	}
	return response, nil
}
