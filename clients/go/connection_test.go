package taraexport_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/net/dns/dnsmessage"
	"google.golang.org/grpc/codes"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// certificate is a certificate with its key, PEM.
type certificate struct{ certificate, key []byte }

// authority is a certificate authority that a test creates.
type authority struct {
	t      *testing.T
	pem    []byte
	parent *x509.Certificate
	key    *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader))(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true,
	}
	der := must(x509.CreateCertificate(cryptorand.Reader, template, template, &key.PublicKey, key))(t)
	return &authority{t, encodePEM("CERTIFICATE", der), must(x509.ParseCertificate(der))(t), key}
}

// issue issues a certificate for this name and 127.0.0.1.
func (authority *authority) issue(name string) certificate {
	authority.t.Helper()
	return authority.issueUntil(name, time.Now().Add(time.Hour))
}

func (authority *authority) issueUntil(name string, end time.Time) certificate {
	authority.t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), cryptorand.Reader))(authority.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
	}
	if name == "localhost" {
		template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	}
	der := must(x509.CreateCertificate(
		cryptorand.Reader, template, authority.parent, &key.PublicKey, authority.key))(authority.t)
	encoded := must(x509.MarshalECPrivateKey(key))(authority.t)
	return certificate{encodePEM("CERTIFICATE", der), encodePEM("EC PRIVATE KEY", encoded)}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[Value any](value Value, err error) func(*testing.T) Value {
	return func(t *testing.T) Value {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// tokensFile returns the environment of a server that accepts these tokens.
func tokensFile(t *testing.T, tokens ...string) string {
	t.Helper()
	type entry struct {
		Name   string   `json:"name"`
		Roles  []string `json:"roles"`
		SHA256 string   `json:"sha256"`
	}
	var entries []entry
	for index, token := range tokens {
		digest := sha256.Sum256([]byte(token))
		entries = append(entries, entry{fmt.Sprint("caller", index), []string{"admin"}, hex.EncodeToString(digest[:])})
	}
	text := must(json.Marshal(map[string]any{"tokens": entries}))(t)
	return "AUTH_TOKENS_FILE=" + writeFile(t, "tokens.json", text)
}

const token = "go-test-token-4711"

func TestEveryCallSendsTheToken(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		server := startServer(t, tokensFile(t, token))
		_, err := connect(t, server, options...).Export(t.Context(), reviewed("report.docx"))
		wantError(t, err, codes.Unauthenticated, "CREDENTIALS_MISSING")

		for _, given := range []taraexport.Option{
			taraexport.WithToken(" " + token + "\n"),
			taraexport.WithTokenFile(writeFile(t, "token", []byte(token+"\n"))),
			taraexport.WithTokenSource(func(context.Context) (string, error) { return token, nil }),
		} {
			client := connect(t, server, append(options, given)...)
			content := taraexport.Attach(
				exportv1.Document_KIND_AFTER, "after.pdf", strings.NewReader(strings.Repeat("x", 9*1024*1024)))
			result := export(t, client, reviewed("report.pdf"), content)
			for _, err := range client.ListExports(t.Context(), nil) {
				if err != nil {
					t.Fatal(err)
				}
			}
			target := filepath.Join(t.TempDir(), "bundle.zip")
			if _, err := client.DownloadBundle(t.Context(), result.Name, target); err != nil {
				t.Fatal(err)
			}
			if _, err := client.Watch(t.Context(), result.Name); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// replacedToken is a source whose first token has expired.
func replacedToken(calls *atomic.Int32) taraexport.Option {
	return taraexport.WithTokenSource(func(context.Context) (string, error) {
		if calls.Add(1) == 1 {
			return "expired", nil
		}
		return token, nil
	})
}

func TestRejectedTokenIsReplacedOnce(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		server := startServer(t, tokensFile(t, token))
		calls := &atomic.Int32{}
		client := connect(t, server, append(options, replacedToken(calls))...)
		export(t, client, reviewed("report.docx"))
		wantEqual(t, "the number of tokens of a stream", calls.Load(), 2)
		calls.Store(0)
		if _, err := client.CheckStorage(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "the number of tokens of a unary call", calls.Load(), 2)

		calls.Store(0)
		wrong := taraexport.WithTokenSource(func(context.Context) (string, error) {
			calls.Add(1)
			return "wrong", nil
		})
		client = connect(t, server, append(options, wrong)...)
		_, err := client.Export(t.Context(), reviewed("report.docx"))
		wantError(t, err, codes.Unauthenticated, "CREDENTIALS_INVALID")
		wantEqual(t, "the number of requested tokens", calls.Load(), 2)
		content := strings.NewReader("content")
		_, err = client.Upload(t.Context(), content, nil)
		wantError(t, err, codes.Unauthenticated, "CREDENTIALS_INVALID")
	})
}

func TestFailedTokenSourceEndsTheCall(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		failed := errors.New("the vault is sealed")
		calls := 0
		source := taraexport.WithTokenSource(func(context.Context) (string, error) {
			calls++
			return "", failed
		})
		client := connect(t, startServer(t), append(options, source)...)
		_, err := client.Export(t.Context(), reviewed("report.docx"))
		failure := wantError(t, err, codes.Unauthenticated, taraexport.ReasonTokenUnavailable)
		wantEqual(t, "whether the cause is the source's error", errors.Is(failure, failed), true)
		_, err = client.Upload(t.Context(), strings.NewReader("content"), nil)
		wantError(t, err, codes.Unauthenticated, taraexport.ReasonTokenUnavailable)
		_, err = client.CheckStorage(t.Context())
		wantError(t, err, codes.Unauthenticated, taraexport.ReasonTokenUnavailable)
		wantEqual(t, "the number of calls of the source", calls, 3)
	})
}

func TestTokenIsNeverInATextOfTheClient(t *testing.T) {
	secret := "secret-\u00fc"
	_, err := taraexport.Connect("http://127.0.0.1:1", taraexport.WithToken(secret))
	if err == nil || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "byte 8") {
		t.Errorf("%v", err)
	}
	for _, bad := range []string{"", " \n", "a b", "a\nb", "a\x7f"} {
		if _, err := taraexport.Connect("http://127.0.0.1:1", taraexport.WithToken(bad)); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
	_, err = taraexport.Connect("http://user:hunter2@127.0.0.1:1")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	_, err = taraexport.Connect("http://user:hunter2%zz@127.0.0.1:1")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t, tokensFile(t, "other")), append(options, taraexport.WithToken("hunter2"))...)
		_, err := client.CheckStorage(t.Context())
		for _, text := range []string{fmt.Sprintf("%v %+v %#v", client, client, *client), fmt.Sprintf("%v %+v", err, err)} {
			if strings.Contains(text, "hunter2") {
				t.Errorf("the token is in %s", text)
			}
		}
	})
}

func TestTokenWithoutTLSIsOnlyForThisMachine(t *testing.T) {
	for server, isAccepted := range map[string]bool{
		"http://127.0.0.1:1": true, "http://localhost:1": true, "http://[::1]:1": true, "unix:/tmp/x": true,
		"dns:///localhost:1": true, "https://export.example.com": true, "a.localhost": true,
		"http://export.example.com": false, "http://10.0.0.7:1": false, "export.example.com:1": false,
		"dns:///export.example.com:1": false, "http://127.0.0.1.example.com": false, "http://[::2]": false,
		"passthrough:///localhost:1": false,
	} {
		client, err := taraexport.Connect(server, taraexport.WithToken(token))
		wantEqual(t, "whether "+server+" is accepted", err == nil, isAccepted)
		if err == nil {
			client.Close()
		}
		client, err = taraexport.Connect(server, taraexport.WithToken(token), taraexport.WithAllowInsecureToken())
		if err != nil {
			t.Fatal(err)
		}
		client.Close()
	}
}

func TestEnvironmentHasTokenAndCertificates(t *testing.T) {
	ca := newAuthority(t)
	leaf := ca.issue("localhost")
	server := startServer(t, tokensFile(t, token), "TLS_CERT_FILE="+writeFile(t, "cert.pem", leaf.certificate),
		"TLS_KEY_FILE="+writeFile(t, "key.pem", leaf.key))
	url := strings.Replace(server, "http://", "https://", 1)
	t.Setenv("TARA_EXPORT_TLS_CA_FILE", writeFile(t, "ca.pem", ca.pem))
	t.Setenv("TARA_EXPORT_TOKEN", token)
	client := connect(t, url, taraexport.WithEnvironment())
	if _, err := client.CheckStorage(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TARA_EXPORT_TOKEN_FILE", writeFile(t, "token", []byte("wrong")))
	_, err := connect(t, url, taraexport.WithEnvironment()).CheckStorage(t.Context())
	wantError(t, err, codes.Unauthenticated, "CREDENTIALS_INVALID")
	t.Setenv("TARA_EXPORT_TLS_CA_FILE", "/missing/ca.pem")
	_, err = taraexport.Connect(url, taraexport.WithEnvironment())
	if err == nil || !strings.Contains(err.Error(), "TARA_EXPORT_TLS_CA_FILE") {
		t.Errorf("%v", err)
	}
}

func TestForeignClientCertificateIsReported(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	leaf := ca.issue("localhost")
	server := startServer(t, "TLS_CERT_FILE="+writeFile(t, "cert.pem", leaf.certificate),
		"TLS_KEY_FILE="+writeFile(t, "key.pem", leaf.key),
		"TLS_CLIENT_CA_FILE="+writeFile(t, "clients.pem", ca.pem))
	address := strings.Replace(server, "http://", "https://", 1)
	foreign := other.issue("client")
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		options = append(options, impatient(), taraexport.WithCertificateAuthorities(ca.pem),
			taraexport.WithClientCertificate(foreign.certificate, foreign.key))
		wantImmediateError(t, connect(t, address, options...), "TLS_FAILED", "WithClientCertificate")
	})
}

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

// resolveNames replaces the name server of this process until the test ends. Every name has the address 127.0.0.1, or
// does not exist.
func resolveNames(t *testing.T, exist bool) {
	t.Helper()
	socket := must(net.ListenPacket("udp", "127.0.0.1:0"))(t)
	go func() {
		buffer := make([]byte, 1500)
		for {
			size, sender, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:size]) != nil || len(query.Questions) == 0 {
				continue
			}
			answer := dnsmessage.Message{Questions: query.Questions}
			answer.ID, answer.Response, answer.RecursionAvailable = query.ID, true, true
			if question := query.Questions[0]; !exist {
				answer.RCode = dnsmessage.RCodeNameError
			} else if question.Type == dnsmessage.TypeA {
				answer.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			}
			if packed, err := answer.Pack(); err == nil {
				_, _ = socket.WriteTo(packed, sender)
			}
		}
	}()
	previous := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
	t.Cleanup(func() {
		net.DefaultResolver = previous
		socket.Close()
	})
}

func TestAddresses(t *testing.T) {
	server := startServer(t)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server, "http://"))
	sixth := ""
	if listener, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Errorf("this machine has no IPv6: %v", err)
	} else {
		listener.Close()
		sixth = startServer(t, "BIND_ADDRESS=::1")
	}
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		for _, address := range []string{
			server, server + "/", "127.0.0.1:" + port, "HTTP://127.0.0.1:" + port, "http://localhost:" + port, sixth,
			strings.TrimPrefix(sixth, "http://"),
		} {
			if _, err := connect(t, address, options...).CheckStorage(t.Context()); err != nil {
				t.Errorf("%s: %v", address, err)
			}
		}
		for address, problem := range map[string]string{
			"": "scheme", "http://": "no host", "ftp://x": "scheme", "http://x:0": "port", "http://x:65536": "port",
			"http://x?a=b": "query", "http://user@x": "user", "unix:": "path", "unix://host": "host",
			"unix://host/path": "host", "http://a b": "invalid", "dns:///": "host", "http://[::1": "missing",
		} {
			if _, err := taraexport.Connect(address, options...); err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%q: %v", address, err)
			}
		}
	})
	for _, target := range []string{"dns:///127.0.0.1:" + port, "passthrough:///127.0.0.1:" + port} {
		if _, err := connect(t, target).CheckStorage(t.Context()); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if _, err := taraexport.Connect(target, taraexport.WithGRPCWeb(nil)); err == nil {
			t.Errorf("%s: accepted for gRPC-Web", target)
		}
	}
	if _, err := taraexport.Connect("http://localhost/prefix"); err == nil {
		t.Error("native gRPC cannot use a path")
	}
}

func TestHostNamesWithUnderscoresAndNamesOfSchemes(t *testing.T) {
	server := startServer(t, "ALLOWED_HOSTS=*")
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(server, "http://"))
	resolveNames(t, true)
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		for _, host := range []string{"tara_export", "my_service.my_namespace.svc", "dns", "unix", "xds", "passthrough"} {
			for _, address := range []string{"http://" + host + ":" + port, host + ":" + port} {
				if _, err := connect(t, address, options...).CheckStorage(t.Context()); err != nil {
					if strings.HasPrefix(address, "unix:") {
						continue // a path of a socket
					}
					t.Errorf("%s: %v", address, err)
				}
			}
		}
	})
	if _, err := connect(t, "dns:///tara_export:"+port).CheckStorage(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestUnixSocket(t *testing.T) {
	// The server listens on TCP; this proxy has the socket.
	server := strings.TrimPrefix(startServer(t), "http://")
	folder := must(os.MkdirTemp("", "socket"))(t)
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket := filepath.Join(folder, "s")
	listener := must(net.Listen("unix", socket))(t)
	t.Cleanup(func() { listener.Close() })
	proxy := &cuttingProxy{server: server, toClient: -1, toServer: -1}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go proxy.serve(client)
		}
	}()
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		for _, address := range []string{"unix:" + socket, "unix://" + socket} {
			export(t, connect(t, address, options...), reviewed("report.docx"))
		}
	})
}

func TestTLSRequiresAFittingAddress(t *testing.T) {
	ca := newAuthority(t)
	leaf := ca.issue("localhost")
	for _, option := range []taraexport.Option{
		taraexport.WithTLS(&tls.Config{}), taraexport.WithCertificateAuthorities(ca.pem),
		taraexport.WithClientCertificate(leaf.certificate, leaf.key),
	} {
		if _, err := taraexport.Connect("http://127.0.0.1:1", option); err == nil ||
			!strings.Contains(err.Error(), "https://") {
			t.Errorf("%v", err)
		}
	}
	for _, option := range []taraexport.Option{
		taraexport.WithCertificateAuthorities([]byte("no certificate")),
		taraexport.WithClientCertificate(leaf.certificate, ca.pem),
	} {
		if _, err := taraexport.Connect("https://127.0.0.1:1", option); err == nil ||
			!strings.Contains(err.Error(), "cannot use the") {
			t.Errorf("%v", err)
		}
	}
}
