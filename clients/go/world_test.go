package taraexport_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	taraexport "github.com/tara-export/tara-export/clients/go"
)

// startServer runs the server's binary until the test ends, and returns its URL.
func startServer(t *testing.T, environment ...string) string {
	t.Helper()
	binary := os.Getenv("TARA_EXPORT_BINARY")
	if binary == "" {
		binary = "../../target/debug/tara-export"
	}
	server := exec.Command(binary, "serve", "--port", "0", "--log-format", "json")
	server.Env = append([]string{"DATA_DIR=" + t.TempDir()}, environment...)
	logs, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatalf("%s: build the server first, or set TARA_EXPORT_BINARY: %s", binary, err)
	}
	lines := bufio.NewScanner(logs)
	var start struct{ Address string }
	for start.Address == "" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &start); err != nil {
			t.Fatalf("%s: %s", lines.Text(), err)
		}
	}
	// The pipe must not fill up while the server runs.
	logEnded := make(chan struct{})
	go func() {
		defer close(logEnded)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-logEnded
		_ = server.Wait()
	})
	return "http://" + start.Address
}

// A fixed port without a listener; another process could get a port that the system assigned.
const unreachable = "http://127.0.0.1:1"

// s3Outage is the environment of a server whose S3 is unreachable.
func s3Outage() []string {
	return []string{
		"S3_BUCKET_NAME=audit", "S3_RETRY_BUDGET=100ms", "AWS_ENDPOINT_URL=" + unreachable,
		"S3_PATH_STYLE=true", "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// cuttingProxy is a proxy between client and server that cuts one connection.
type cuttingProxy struct {
	server string
	url    string

	lock sync.Mutex
	// The remaining bytes before the cut; negative if there will be no cut.
	toClient, toServer int
	cuts               int
}

// startCuttingProxy starts a proxy that cuts the connection after either number of bytes; negative means no limit.
func startCuttingProxy(t *testing.T, server string, toClient, toServer int) *cuttingProxy {
	t.Helper()
	listener := listen(t)
	t.Cleanup(func() { listener.Close() })
	proxy := &cuttingProxy{
		server: strings.TrimPrefix(server, "http://"), url: "http://" + listener.Addr().String(),
		toClient: toClient, toServer: toServer,
	}
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go proxy.serve(client)
		}
	}()
	return proxy
}

func (proxy *cuttingProxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", proxy.server)
	if err != nil {
		return
	}
	defer server.Close()
	ended := make(chan struct{}, 2)
	forward := func(to, from net.Conn, remaining *int) {
		proxy.forward(to, from, remaining)
		ended <- struct{}{}
	}
	go forward(server, client, &proxy.toServer)
	go forward(client, server, &proxy.toClient)
	// After a cut, both sides are closed at once.
	<-ended
}

func (proxy *cuttingProxy) forward(to io.Writer, from io.Reader, remaining *int) {
	buffer := make([]byte, 16*1024)
	for {
		read, err := from.Read(buffer)
		allowed := proxy.allow(read, remaining)
		if _, failed := to.Write(buffer[:allowed]); err != nil || failed != nil || allowed < read {
			return
		}
	}
}

func (proxy *cuttingProxy) allow(bytes int, remaining *int) int {
	proxy.lock.Lock()
	defer proxy.lock.Unlock()
	if *remaining < 0 {
		return bytes
	}
	if bytes < *remaining {
		*remaining -= bytes
		return bytes
	}
	allowed := *remaining
	*remaining = -1
	proxy.cuts++
	return min(allowed, bytes-1)
}

func (proxy *cuttingProxy) cutCount() int {
	proxy.lock.Lock()
	defer proxy.lock.Unlock()
	return proxy.cuts
}

func connect(t *testing.T, url string, options ...taraexport.Option) *taraexport.Client {
	t.Helper()
	client, err := taraexport.Connect(url, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// repository returns the folder in which README snippets run.
func repository(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
