package taraexport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/grpc/resolver"
)

// address is the parsed address of a server.
type address struct {
	// The target of grpc-go.
	target string
	// The base URL of gRPC-Web. Empty if gRPC-Web cannot use the address.
	url string
	// The path of the Unix socket, for gRPC-Web.
	socket string
	// Whether the scheme requires TLS.
	isTLS bool
	// Whether the scheme excludes TLS: http.
	isPlain bool
	// Whether the connection does not leave this machine.
	isLocal bool
}

// parseAddress parses a URL, a host with an optional port, or another target of grpc-go, such as unix:/path or
// dns:///host:port. Its errors do not contain a password of the URL.
func parseAddress(server string) (address, error) {
	scheme, rest, hasScheme := strings.Cut(server, "://")
	switch {
	case strings.HasPrefix(server, "unix:"):
		return unixAddress(server)
	case hasScheme && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")):
		return urlAddress(server)
	case hasScheme && scheme == "dns" && strings.HasPrefix(rest, "/"):
		return dnsAddress(server, rest[1:])
	case hasScheme && resolver.Get(scheme) != nil, strings.HasPrefix(server, "unix-abstract:"):
		return address{target: server, isLocal: scheme != "dns" && scheme != "passthrough"}, nil
	case !hasScheme && server != "":
		return urlAddress("http://" + server)
	}
	return address{}, invalidAddress(server, "the scheme must be http, https, unix or dns")
}

func invalidAddress(server, problem string) error {
	// The part before an @ can be a password.
	if at := strings.LastIndex(server, "@"); at >= 0 {
		server = "…" + server[at:]
	}
	return fmt.Errorf("cannot use the server's address %q: %s; set a URL such as http://127.0.0.1:8080 or "+
		"https://export.example.com, or unix:/path of a socket", server, problem)
}

func urlAddress(server string) (address, error) {
	parsed, err := url.Parse(server)
	if err != nil {
		// The error of the URL contains the whole URL.
		cause := (*url.Error)(nil)
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return address{}, invalidAddress(server, err.Error())
	}
	switch {
	case parsed.User != nil:
		return address{}, invalidAddress(server, "it contains a user name; use a token")
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return address{}, invalidAddress(server, "it has a query or a fragment")
	case parsed.Hostname() == "":
		return address{}, invalidAddress(server, "it has no host")
	}
	isTLS := parsed.Scheme == "https"
	port := parsed.Port()
	if port == "" {
		port = map[bool]string{true: "443", false: "80"}[isTLS]
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return address{}, invalidAddress(server, "the port must be 1 to 65535")
	}
	target := ""
	if parsed.Path == "" || parsed.Path == "/" {
		// With its scheme: grpc-go would read the host "dns" or "unix" of "dns:80" as one.
		target = "dns:///" + strings.ReplaceAll(net.JoinHostPort(parsed.Hostname(), port), "%", "%25")
	}
	return address{
		target: target, url: strings.TrimSuffix(server, "/"), isTLS: isTLS, isPlain: !isTLS,
		isLocal: isLoopback(parsed.Hostname()),
	}, nil
}

func dnsAddress(server, hostAndPort string) (address, error) {
	host, _, err := net.SplitHostPort(hostAndPort)
	if err != nil {
		host = strings.Trim(hostAndPort, "[]")
	}
	if host == "" {
		return address{}, invalidAddress(server, "it has no host")
	}
	return address{target: server, isLocal: isLoopback(host)}, nil
}

func unixAddress(server string) (address, error) {
	// unix:relative, unix:/path and unix:///path, as in grpc-go.
	socket := strings.TrimPrefix(server, "unix:")
	if strings.HasPrefix(socket, "//") && !strings.HasPrefix(socket, "///") {
		return address{}, invalidAddress(server, "a socket has no host: write unix:/path")
	}
	if strings.HasPrefix(socket, "///") {
		socket = socket[2:]
	}
	if socket == "" {
		return address{}, invalidAddress(server, "it has no path")
	}
	return address{target: "unix:" + socket, url: "http://localhost", socket: socket, isLocal: true}, nil
}

func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	parsed, err := netip.ParseAddr(host)
	return err == nil && parsed.Unmap().IsLoopback()
}
