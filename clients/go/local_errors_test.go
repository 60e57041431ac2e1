package taraexport_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	taraexport "github.com/tara-export/tara-export/clients/go"
)

// wantImmediateError checks that every kind of call of an impatient client fails before it gives up.
func wantImmediateError(t *testing.T, client *taraexport.Client, reason string, texts ...string) {
	t.Helper()
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Export": func() error {
			_, err := client.Export(ctx, reviewed("report.docx"))
			return err
		},
		"Upload": func() error {
			_, err := client.Upload(ctx, strings.NewReader("content"), nil)
			return err
		},
		"GetExport": func() error {
			_, err := client.GetExport(ctx, "exports/"+uuid.NewString())
			return err
		},
		"DownloadArtifact": func() error {
			_, err := client.DownloadArtifact(ctx, "exports/"+uuid.NewString(), "a.txt", filepath.Join(t.TempDir(), "a"))
			return err
		},
	} {
		err := call()
		failure := (*taraexport.Error)(nil)
		if !errors.As(err, &failure) {
			t.Fatalf("%s: %v", name, err)
		}
		for _, text := range texts {
			if failure.Reason != reason || !strings.Contains(failure.Message, text) {
				t.Errorf("%s: %v (reason %s) instead of %s, %q", name, err, failure.Reason, reason, text)
			}
		}
	}
}

// httpRow is a row of "http" in ../hostile-server.json.
type httpRow struct {
	About         string
	Protocols     []string
	Status        int
	IsGRPC        bool `json:"is_grpc"`
	Headers       map[string]string
	Body          string
	BodyBase64    []byte `json:"body_base64"`
	MessageBytes  int    `json:"message_bytes"`
	HeaderBytes   int    `json:"header_bytes"`
	Trailers      map[string]string
	TrailerBytes  int `json:"trailer_bytes"`
	Retried       bool
	Reason        string
	ErrorContains []string `json:"error_contains"`
}

// connectionRow is a row of "connections".
type connectionRow struct {
	About, Scheme, Server, Address, Certificate string
	Client                                      []string
	Retried                                     bool
	Reason                                      string
	ErrorContains                               []string `json:"error_contains"`
}

// serveHTTP serves every request over HTTP/1.1 and HTTP/2 without TLS with the response of a row. It returns the URL,
// and the number of requests.
func serveHTTP(t *testing.T, row httpRow) (string, *atomic.Int32) {
	t.Helper()
	requests := &atomic.Int32{}
	handler := func(response http.ResponseWriter, request *http.Request) {
		requests.Add(1)
		header := response.Header()
		for name, value := range row.Headers {
			header.Set(name, value)
		}
		isWeb := request.ProtoMajor == 1
		trailers := maps.Clone(row.Trailers)
		if row.TrailerBytes > 0 {
			trailers["x-filler"] = strings.Repeat("a", row.TrailerBytes)
		}
		if row.IsGRPC {
			header.Set("Content-Type", "application/grpc")
		}
		if row.IsGRPC && isWeb {
			header.Set("Content-Type", "application/grpc-web+proto")
		}
		if header.Get("Content-Type") == "" {
			// Otherwise net/http guesses one.
			header["Content-Type"] = nil
		}
		if row.HeaderBytes > 0 {
			header.Set("X-Filler", strings.Repeat("a", row.HeaderBytes))
		}
		_, _ = io.Copy(io.Discard, request.Body)
		response.WriteHeader(row.Status)
		_, _ = response.Write(row.BodyBase64)
		_, _ = io.WriteString(response, row.Body)
		if row.MessageBytes > 0 {
			_, _ = response.Write(binary.BigEndian.AppendUint32([]byte{0}, uint32(row.MessageBytes)))
			_, _ = response.Write(make([]byte, row.MessageBytes))
		}
		frame := ""
		for name, value := range trailers {
			header.Set(http.TrailerPrefix+name, value)
			frame += name + ": " + value + "\r\n"
		}
		if isWeb && frame != "" {
			_, _ = response.Write(binary.BigEndian.AppendUint32([]byte{0x80}, uint32(len(frame))))
			_, _ = io.WriteString(response, frame)
		}
	}
	listener := listen(t)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: http.HandlerFunc(handler), Protocols: protocols}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String(), requests
}

// wantLocalError watches an export, and checks the error of a row.
func wantLocalError(t *testing.T, client *taraexport.Client, retried bool, reason string, texts []string) {
	t.Helper()
	start := time.Now()
	_, err := client.Watch(t.Context(), "exports/"+uuid.NewString())
	failure := (*taraexport.Error)(nil)
	if !errors.As(err, &failure) {
		t.Fatal(err)
	}
	if retried {
		reason = taraexport.ReasonLostContact
	} else if waited := time.Since(start); waited > 10*time.Second {
		t.Errorf("reported after %s", waited)
	}
	wantEqual(t, "the reason of "+err.Error(), failure.Reason, reason)
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is missing in %q", text, err)
		}
	}
}

// impatient reports a lost contact after some retries, so that a test shows the last error.
func impatient() taraexport.Option {
	policy := taraexport.DefaultPolicy()
	policy.ProgressTimeout, policy.MinDelay = 2*time.Second, 50*time.Millisecond
	return taraexport.WithPolicy(policy)
}

func TestResponsesOfProxiesAreNoLostStreams(t *testing.T) {
	for _, row := range readHostile(t).HTTP {
		onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
			protocol := map[bool]string{true: "grpc", false: "grpc-web"}[len(options) == 0]
			if row.Protocols != nil && !slices.Contains(row.Protocols, protocol) {
				return
			}
			t.Run(row.About, func(t *testing.T) {
				url, requests := serveHTTP(t, row)
				client := connect(t, url, append(options, impatient())...)
				wantLocalError(t, client, row.Retried, row.Reason, row.ErrorContains)
				if sent := requests.Load(); row.Retried && sent < 2 || !row.Retried && sent > 4 {
					t.Errorf("%d requests", sent)
				}
				if !row.Retried {
					wantImmediateError(t, client, row.Reason, row.ErrorContains...)
				}
			})
		})
	}
}

// limitRequests starts a proxy that refuses requests of more than 1 MiB, as nginx does by default.
func limitRequests(t *testing.T, server string) string {
	t.Helper()
	target := must(url.Parse(server))(t)
	overHTTP2 := &http.Protocols{}
	overHTTP2.SetUnencryptedHTTP2(true)
	forward := func(transport *http.Transport) *httputil.ReverseProxy {
		return &httputil.ReverseProxy{
			Rewrite:       func(request *httputil.ProxyRequest) { request.SetURL(target) },
			Transport:     transport,
			FlushInterval: -1,
		}
	}
	overHTTP1, native := forward(&http.Transport{}), forward(&http.Transport{Protocols: overHTTP2})
	listener := listen(t)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	proxy := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(
		func(response http.ResponseWriter, request *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(response, request.Body, 1024*1024))
			if err != nil {
				response.Header().Set("Content-Type", "text/html")
				response.WriteHeader(http.StatusRequestEntityTooLarge)
				return
			}
			request.Body = io.NopCloser(bytes.NewReader(body))
			if request.ProtoMajor == 2 {
				native.ServeHTTP(response, request)
			} else {
				overHTTP1.ServeHTTP(response, request)
			}
		})}
	go func() { _ = proxy.Serve(listener) }()
	t.Cleanup(func() { proxy.Close() })
	return "http://" + listener.Addr().String()
}

func TestUploadUsesSmallChunksIfAProxyRefusesLargeRequests(t *testing.T) {
	server := startServer(t, "ALLOWED_HOSTS=*")
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, limitRequests(t, server), options...)
		// Each of them can be refused before the first one has found the limit.
		var uploads sync.WaitGroup
		for index := range 3 {
			uploads.Go(func() {
				content := randomBytes(9*1024*1024 + index)
				uploaded, err := client.Upload(t.Context(), bytes.NewReader(content), nil)
				if err != nil {
					t.Error(err)
					return
				}
				sum := sha256.Sum256(content)
				wantEqual(t, "the digest", uploaded.SHA256, hex.EncodeToString(sum[:]))
			})
		}
		uploads.Wait()
	})
}

func TestFailedConnectionsAreReported(t *testing.T) {
	resolveNames(t, false)
	for _, row := range readHostile(t).Connections {
		t.Run(row.About, func(t *testing.T) {
			ca, address := newAuthority(t), row.Address
			leaf := ca.issue(map[bool]string{true: "other.example", false: "localhost"}[row.Certificate == "other name"])
			if row.Certificate == "expired" {
				leaf = ca.issueUntil("localhost", time.Now().Add(-time.Minute))
			}
			environment := []string{
				"TLS_CERT_FILE=" + writeFile(t, "cert.pem", leaf.certificate),
				"TLS_KEY_FILE=" + writeFile(t, "key.pem", leaf.key),
			}
			switch row.Server {
			case "plain":
				address = strings.TrimPrefix(startServer(t), "http://")
			case "tls":
				address = strings.TrimPrefix(startServer(t, environment...), "http://")
			case "mutual tls":
				environment = append(environment, "TLS_CLIENT_CA_FILE="+writeFile(t, "ca.pem", ca.pem))
				address = strings.TrimPrefix(startServer(t, environment...), "http://")
			case "closed port":
				address = strings.TrimPrefix(unreachable, "http://")
			}
			onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
				options = append(options, impatient())
				if slices.Contains(row.Client, "ca") {
					options = append(options, taraexport.WithCertificateAuthorities(ca.pem))
				}
				client := connect(t, row.Scheme+"://"+address, options...)
				wantLocalError(t, client, row.Retried, row.Reason, row.ErrorContains)
				if !row.Retried {
					wantImmediateError(t, client, row.Reason, row.ErrorContains...)
				}
			})
		})
	}
}
