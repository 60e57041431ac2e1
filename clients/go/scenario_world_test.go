package taraexport_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	taraexport "github.com/tara-export/tara-export/clients/go"
)

type scenarioServer struct {
	Tokens []struct {
		Token string
		Roles []string
	}
	TLS       bool
	MutualTLS bool `json:"mutual_tls"`
	// The content of NOTIFY_FILE.
	Notify           json.RawMessage
	NotifyRecipients string `json:"notify_recipients"`
}

type scenarioClient struct {
	Token           string
	Tokens          []string
	TokenError      string `json:"token_error"`
	CA, Certificate bool
}

// environment returns the variables of the server of a scenario.
func (server scenarioServer) environment(t *testing.T, ca *authority) (variables []string) {
	t.Helper()
	if server.Tokens != nil {
		var entries []map[string]any
		for index, token := range server.Tokens {
			entries = append(entries, map[string]any{
				"name": fmt.Sprint("caller", index), "roles": token.Roles, "sha256": digest([]byte(token.Token)),
			})
		}
		text := must(json.Marshal(map[string]any{"tokens": entries}))(t)
		variables = append(variables, "AUTH_TOKENS_FILE="+writeFile(t, "tokens.json", text))
	}
	if server.TLS || server.MutualTLS {
		leaf := ca.issue("localhost")
		variables = append(variables, "TLS_CERT_FILE="+writeFile(t, "cert.pem", leaf.certificate),
			"TLS_KEY_FILE="+writeFile(t, "key.pem", leaf.key))
	}
	if server.MutualTLS {
		variables = append(variables, "TLS_CLIENT_CA_FILE="+writeFile(t, "ca.pem", ca.pem))
	}
	if server.Notify != nil {
		variables = append(variables, "NOTIFY_FILE="+writeNotifyFile(t, server.Notify))
	}
	if server.NotifyRecipients != "" {
		variables = append(variables, "NOTIFY_RECIPIENTS="+server.NotifyRecipients)
	}
	return variables
}

func (client scenarioClient) options(t *testing.T, ca *authority) (options []taraexport.Option) {
	t.Helper()
	if client.Token != "" {
		options = append(options, taraexport.WithToken(client.Token))
	}
	if client.Tokens != nil {
		calls := atomic.Int32{}
		options = append(options, taraexport.WithTokenSource(func(context.Context) (string, error) {
			return client.Tokens[min(int(calls.Add(1)), len(client.Tokens))-1], nil
		}))
	}
	if client.TokenError != "" {
		options = append(options, taraexport.WithTokenSource(func(context.Context) (string, error) {
			return "", errors.New(client.TokenError)
		}))
	}
	if client.CA {
		options = append(options, taraexport.WithCertificateAuthorities(ca.pem))
	}
	if client.Certificate {
		leaf := ca.issue("client")
		options = append(options, taraexport.WithClientCertificate(leaf.certificate, leaf.key))
	}
	return options
}

func (client scenarioClient) secrets() []string {
	if client.Token != "" {
		return []string{client.Token}
	}
	return client.Tokens
}

// world is a process with a server, an in-memory S3 and proxies.
type world struct {
	GRPC   string
	HTTP1  string `json:"http1"`
	Server string
	Folder string

	commands io.Writer
	replies  *bufio.Scanner
}

func startWorld(t *testing.T, environment ...string) *world {
	t.Helper()
	binary := os.Getenv("TEST_WORLD_BINARY")
	if binary == "" {
		binary = "../../target/debug/test-world"
	}
	process := exec.Command(binary)
	process.Stderr = t.Output()
	process.Env = append(os.Environ(), environment...)
	commands, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	replies, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatalf("%s: build it first, or set TEST_WORLD_BINARY: %s", binary, err)
	}
	t.Cleanup(func() {
		commands.Close()
		_ = process.Wait()
	})
	world := &world{commands: commands, replies: bufio.NewScanner(replies)}
	if !world.replies.Scan() {
		t.Fatal("the world exited at start")
	}
	if err := json.Unmarshal(world.replies.Bytes(), world); err != nil {
		t.Fatal(err)
	}
	return world
}

func (world *world) run(command string) error {
	if _, err := fmt.Fprintln(world.commands, command); err != nil {
		return err
	}
	if !world.replies.Scan() {
		return errors.New("the world has exited")
	}
	if reply := world.replies.Text(); reply != "ok" {
		return fmt.Errorf("%s: %s", command, reply)
	}
	return nil
}
