package taraexport_test

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	taraexport "github.com/tara-export/tara-export/clients/go"
)

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
