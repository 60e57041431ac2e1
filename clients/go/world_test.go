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
		t.Fatalf("%s: build the server first, or name it with TARA_EXPORT_BINARY: %s", binary, err)
	}
	lines := bufio.NewScanner(logs)
	var start struct{ Address string }
	for start.Address == "" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &start); err != nil {
			t.Fatalf("%s: %s", lines.Text(), err)
		}
	}
	// The pipe must not fill up while the server runs.
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-drained
		_ = server.Wait()
	})
	return "http://" + start.Address
}

// Nobody listens there, and a port that the system gave away would not stay so.
const nowhere = "http://127.0.0.1:1"

// anOutage is the environment of a server whose S3 nobody answers for.
func anOutage() []string {
	return []string{
		"S3_BUCKET_NAME=audit", "S3_RETRY_BUDGET=100ms", "AWS_ENDPOINT_URL=" + nowhere,
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

// cutter stands between client and server, and cuts a connection once.
type cutter struct {
	server string
	url    string

	lock sync.Mutex
	// How many bytes may still pass before the cut; negative: there is no cut to come.
	toClient, toServer int
	cuts               int
}

// startCutter cuts the connection that brings either number of bytes; negative: no limit.
func startCutter(t *testing.T, server string, toClient, toServer int) *cutter {
	t.Helper()
	listener := listen(t)
	t.Cleanup(func() { listener.Close() })
	proxy := &cutter{
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

func (proxy *cutter) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", proxy.server)
	if err != nil {
		return
	}
	defer server.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn, left *int) {
		proxy.pass(to, from, left)
		ended <- struct{}{}
	}
	go pass(server, client, &proxy.toServer)
	go pass(client, server, &proxy.toClient)
	// A proxy that cuts closes both sides at once.
	<-ended
}

func (proxy *cutter) pass(to io.Writer, from io.Reader, left *int) {
	buffer := make([]byte, 16*1024)
	for {
		read, err := from.Read(buffer)
		allowed := proxy.allow(read, left)
		if _, failed := to.Write(buffer[:allowed]); err != nil || failed != nil || allowed < read {
			return
		}
	}
}

func (proxy *cutter) allow(bytes int, left *int) int {
	proxy.lock.Lock()
	defer proxy.lock.Unlock()
	if *left < 0 {
		return bytes
	}
	if bytes < *left {
		*left -= bytes
		return bytes
	}
	allowed := *left
	*left = -1
	proxy.cuts++
	return min(allowed, bytes-1)
}

func (proxy *cutter) cutCount() int {
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

// repository is the folder that README's snippets are run from.
func repository(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return path
}
