// Package taraexport is a client of tara-export, which exports completed document reviews as audit
// bundles. [Client.Export] uploads large documents, follows the export over lost connections and server
// restarts, and returns the bundle.
package taraexport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

const serviceName = "tara.export.v1.ExportService"

// The largest message that the client sends or accepts. Servers have lower limits.
const maxMessageBytes = 64 * 1024 * 1024

const connectTimeout = 10 * time.Second

// A silently lost connection is detected after twice this interval.
const keepaliveInterval = 20 * time.Second

// Client is a client of a tara-export server. It is safe for concurrent use.
type Client struct {
	service exportv1.ExportServiceClient
	policy  Policy
	// Whether documents are uploaded in chunks, because there are no client streams.
	chunked bool
	close   func() error
}

type settings struct {
	policy      Policy
	web         bool
	httpClient  *http.Client
	dialOptions []grpc.DialOption
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

// Connect creates a client of the server at a URL such as http://127.0.0.1:8080. The client connects
// at the first call and reconnects automatically.
func Connect(server string, options ...Option) (*Client, error) {
	config := settings{policy: DefaultPolicy()}
	for _, option := range options {
		option(&config)
	}
	address, err := url.Parse(server)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return nil, fmt.Errorf("%q is not a URL such as http://127.0.0.1:8080", server)
	}
	if config.policy.MinDelay <= 0 || config.policy.MaxAttempts < 2 || config.policy.MaxAttempts > 5 {
		return nil, errors.New("a policy requires a positive MinDelay and MaxAttempts from 2 to 5")
	}
	if config.web {
		connection := newWebConnection(server, config)
		service := exportv1.NewExportServiceClient(connection)
		return &Client{service, config.policy, true, connection.close}, nil
	}
	connection, err := grpc.NewClient(target(address), dialOptions(address, config)...)
	if err != nil {
		return nil, err
	}
	service := exportv1.NewExportServiceClient(connection)
	return &Client{service, config.policy, false, connection.Close}, nil
}

func target(address *url.URL) string {
	switch {
	case address.Port() != "":
		return address.Host
	case address.Scheme == "https":
		return address.Host + ":443"
	default:
		return address.Host + ":80"
	}
}

func dialOptions(address *url.URL, config settings) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if address.Scheme == "https" {
		transport = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	reconnect := grpcbackoff.Config{
		BaseDelay: config.policy.MinDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: config.policy.MaxDelay,
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(config.policy.serviceConfig()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveInterval}),
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
