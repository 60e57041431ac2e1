// Package taraexport is the client of tara-export, which turns completed document reviews into audit
// bundles. [Client.Export] uploads large documents, follows the export through lost connections and
// restarted servers, and returns the bundle.
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

// The largest message that is sent or taken. Servers have lower limits of their own.
const maxMessageBytes = 64 * 1024 * 1024

const connectTimeout = 10 * time.Second

// A connection that is dead without a sign is noticed after twice this.
const keepaliveInterval = 20 * time.Second

// Client is a tara-export server. It is safe for use by several goroutines.
type Client struct {
	service exportv1.ExportServiceClient
	policy  Policy
	// Whether documents travel in chunks, because there are no client streams.
	chunked bool
	close   func() error
}

type settings struct {
	policy      Policy
	web         bool
	httpClient  *http.Client
	dialOptions []grpc.DialOption
}

// Option changes how a client is made.
type Option func(*settings)

// WithPolicy sets how patiently calls are made.
func WithPolicy(policy Policy) Option { return func(set *settings) { set.policy = policy } }

// WithGRPCWeb speaks gRPC-Web, which works where only HTTP/1.1 gets through. Documents then go in
// chunks instead of one stream. A nil client means one of this package's.
func WithGRPCWeb(client *http.Client) Option {
	return func(set *settings) { set.web, set.httpClient = true, client }
}

// WithDialOptions adds options of grpc-go, such as credentials; they have no effect on gRPC-Web.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(set *settings) { set.dialOptions = append(set.dialOptions, options...) }
}

// Connect makes a client of the server at a URL such as http://127.0.0.1:8080. The connection is made
// with the first call, and again by itself when it was lost.
func Connect(server string, options ...Option) (*Client, error) {
	set := settings{policy: DefaultPolicy()}
	for _, option := range options {
		option(&set)
	}
	address, err := url.Parse(server)
	if err != nil || address.Host == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return nil, fmt.Errorf("%q is not a URL such as http://127.0.0.1:8080", server)
	}
	if set.policy.MinDelay <= 0 || set.policy.MaxAttempts < 2 || set.policy.MaxAttempts > 5 {
		return nil, errors.New("a policy needs a MinDelay and 2 to 5 MaxAttempts")
	}
	if set.web {
		connection := newWebConnection(server, set)
		service := exportv1.NewExportServiceClient(connection)
		return &Client{service, set.policy, true, connection.close}, nil
	}
	connection, err := grpc.NewClient(target(address), dialOptions(address, set)...)
	if err != nil {
		return nil, err
	}
	service := exportv1.NewExportServiceClient(connection)
	return &Client{service, set.policy, false, connection.Close}, nil
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

func dialOptions(address *url.URL, set settings) []grpc.DialOption {
	transport := insecure.NewCredentials()
	if address.Scheme == "https" {
		transport = credentials.NewTLS(&tls.Config{MinVersion: tls.VersionTLS12})
	}
	reconnect := grpcbackoff.Config{
		BaseDelay: set.policy.MinDelay, Multiplier: 2, Jitter: 0.2, MaxDelay: set.policy.MaxDelay,
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithDefaultServiceConfig(set.policy.serviceConfig()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: reconnect, MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: keepaliveInterval, Timeout: keepaliveInterval}),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
	}
	return append(options, set.dialOptions...)
}

// Close ends the connection. Exports that were accepted go on.
func (client *Client) Close() error { return client.close() }

// Preview says what an export would write and what a person can choose, and writes nothing.
func (client *Client) Preview(
	ctx context.Context, request *exportv1.PreviewExportRequest,
) (*exportv1.PreviewExportResponse, error) {
	return answered(ctx, client.service.PreviewExport, request)
}

// GetExport reads one export with its artifacts.
func (client *Client) GetExport(ctx context.Context, name string) (*exportv1.Export, error) {
	answer, err := answered(ctx, client.service.GetExport, &exportv1.GetExportRequest{Name: name})
	if err != nil {
		return nil, err
	}
	if failure := checkExport(answer.GetExport(), name); failure != nil {
		return nil, failure
	}
	return answer.GetExport(), nil
}

// GetReport reads a bundle's report in one of its forms.
func (client *Client) GetReport(
	ctx context.Context, name string, view exportv1.GetReportRequest_View,
) (*exportv1.GetReportResponse, error) {
	return answered(ctx, client.service.GetReport, &exportv1.GetReportRequest{Name: name, View: view})
}

// CheckStorage checks the server's stores: a row for each check, with a hint where one failed.
func (client *Client) CheckStorage(ctx context.Context) ([]*exportv1.StorageCheck, error) {
	answer, err := answered(ctx, client.service.CheckStorage, &exportv1.CheckStorageRequest{})
	return answer.GetChecks(), err
}

// CreateDownloadLink makes a link by which anybody can download one file of a bundle in S3, for a
// time. The answer tells when it really dies.
func (client *Client) CreateDownloadLink(
	ctx context.Context, request *exportv1.CreateDownloadLinkRequest,
) (*exportv1.CreateDownloadLinkResponse, error) {
	answer, err := answered(ctx, client.service.CreateDownloadLink, request)
	if err != nil {
		return nil, err
	}
	if violation := linkViolation(answer.GetUri()); violation != "" {
		return nil, untrusted(request.GetName(), "uri %s %s", quoted(answer.GetUri()), violation)
	}
	return answer, nil
}

// answered makes a call that gives one answer, with this package's errors.
func answered[Request, Response any](
	ctx context.Context,
	call func(context.Context, *Request, ...grpc.CallOption) (*Response, error),
	request *Request,
) (*Response, error) {
	answer, err := call(ctx, request)
	if err != nil {
		return nil, errorFrom(ctx, err)
	}
	return answer, nil
}
