package taraexport_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

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
