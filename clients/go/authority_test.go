package taraexport_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	cryptorand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
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
