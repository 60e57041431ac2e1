package taraexport_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestReadmeSnippetRuns(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	snippet := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(readme)[1]
	server := startServer(t)
	target := t.TempDir()
	program := strings.ReplaceAll(string(snippet), "http://127.0.0.1:8080", server)
	program = strings.ReplaceAll(program, `"examples/`, `"`+repository(t)+"/examples/")
	// Inside the module, so that the snippet imports this module.
	folder, err := os.MkdirTemp(".", "snippet-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(folder)
	if err := os.WriteFile(filepath.Join(folder, "main.go"), []byte(program), 0o644); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(target, "snippet")
	if output, err := exec.Command("go", "build", "-o", binary, "./"+folder).CombinedOutput(); err != nil {
		t.Fatalf("%s: %s", err, output)
	}
	run := exec.Command(binary)
	run.Dir = target
	output, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %s", err, output)
	}
	if !strings.Contains(string(output), "Incident report.docx") {
		t.Errorf("output does not list the export: %s", output)
	}
	for _, file := range []string{"report.txt", "bundle.zip"} {
		if _, err := os.Stat(filepath.Join(target, file)); err != nil {
			t.Error(err)
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
