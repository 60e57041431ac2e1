package taraexport_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A program of the README, and the output that the README says.
var snippets = regexp.MustCompile("(?s)```go\n(.*?)```\n\nIt prints[^\n]*:\n\n```text\n(.*?)```")

// TestReadmeProgramsRun builds and runs each program as another module does that requires this one.
func TestReadmeProgramsRun(t *testing.T) {
	readme := must(os.ReadFile("README.md"))(t)
	programs := snippets.FindAllSubmatch(readme, -1)
	wantEqual(t, "the number of programs with an output", len(programs), bytes.Count(readme, []byte("```go\n")))
	ca := newAuthority(t)
	leaf := ca.issue("localhost")
	secure := startServer(t, tokensFile(t, token), "TLS_CERT_FILE="+writeFile(t, "cert.pem", leaf.certificate),
		"TLS_KEY_FILE="+writeFile(t, "key.pem", leaf.key))
	addresses := strings.NewReplacer(
		"http://127.0.0.1:8080", startServer(t),
		"https://export.example.com", strings.Replace(secure, "http://", "https://", 1))
	for number, program := range programs {
		folder := t.TempDir()
		for name, content := range map[string][]byte{
			"main.go": []byte(addresses.Replace(string(program[1]))), "ca.pem": ca.pem, "token": []byte(token + "\n"),
		} {
			if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Join(repository(t), "examples"), filepath.Join(folder, "examples")); err != nil {
			t.Fatal(err)
		}
		run := func(name string, arguments ...string) string {
			command := exec.Command(name, arguments...)
			command.Dir = folder
			command.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off")
			output, err := command.CombinedOutput()
			if err != nil {
				t.Fatalf("program %d: %s %v: %s: %s", number+1, name, arguments, err, output)
			}
			return string(output)
		}
		const module = "github.com/tara-export/tara-export/clients/go"
		run("go", "mod", "init", "example.com/program")
		run("go", "mod", "edit", "-require", module+"@v0.1.0", "-replace", module+"="+repository(t)+"/clients/go")
		sums := must(os.ReadFile("go.sum"))(t)
		if err := os.WriteFile(filepath.Join(folder, "go.sum"), sums, 0o600); err != nil {
			t.Fatal(err)
		}
		run("go", "vet", ".")
		wantEqual(t, "the module", strings.HasPrefix(run("go", "list", "-m", module), module+" v0.1.0 => "), true)
		run("go", "build", "-o", "program", ".")
		printed := strings.TrimSpace(run("./program"))
		said := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(string(program[2]))), "…", ".*")
		if !regexp.MustCompile("^" + said + "$").MatchString(printed) {
			t.Errorf("program %d prints\n%s\ninstead of\n%s", number+1, printed, program[2])
		}
	}
}

func TestExampleRuns(t *testing.T) {
	for _, protocol := range []string{"grpc", "grpc-web"} {
		example := exec.Command("go", "run", "./examples/export-review", startServer(t),
			"../../examples/request.json", "../../examples/sample-review/guidelines.docx")
		example.Env = append(os.Environ(), "TARA_EXPORT_PROTOCOL="+protocol)
		output, err := example.CombinedOutput()
		if err != nil || !strings.Contains(string(output), "stored manifest.json") {
			t.Errorf("%s: %v: %s", protocol, err, output)
		}
	}
}
