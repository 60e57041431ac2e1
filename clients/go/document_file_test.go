package taraexport

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestOnlyPlainFilesAreDocuments(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(in("file"), []byte("content"), 0o600))
	must(os.Symlink(in("file"), in("link")))
	must(os.Symlink(in("gone"), in("dangling")))
	must(syscall.Mkfifo(in("pipe"), 0o600))
	listener, err := net.Listen("unix", in("socket"))
	must(err)
	defer listener.Close()
	for path, reason := range map[string]string{
		folder: "a folder", in("pipe"): "a pipe", in("socket"): "a socket", "/dev/null": "a device",
		in("dangling"): "no such file",
	} {
		_, _, err := openDocument(path)
		if err == nil || !strings.Contains(err.Error(), reason) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
	content, closeFile, err := openDocument(in("link"))
	must(err)
	defer closeFile()
	if content.Size() != 7 {
		t.Error(content.Size())
	}
}

func TestBytesAreCountedAndNotTakenFromTheReportedSize(t *testing.T) {
	content, closeFile, err := openDocument("/proc/cpuinfo")
	if err != nil {
		t.Skip(err)
	}
	defer closeFile()
	data, err := readPiece(content, 0, content.Size())
	if err != nil || !bytes.Contains(data, []byte("processor")) {
		t.Errorf("%d bytes: %v", len(data), err)
	}
}

func TestFileThatChangesItsSizeIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "document")
	for _, change := range []int64{-1, 1} {
		if err := os.WriteFile(path, make([]byte, smallBytes+2), 0o600); err != nil {
			t.Fatal(err)
		}
		content, closeFile, err := openDocument(path)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFile()
		if _, err := readPiece(content, 0, 10); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, content.Size()+change); err != nil {
			t.Fatal(err)
		}
		reader := io.NewSectionReader(content, 0, content.Size())
		if _, err := io.Copy(io.Discard, reader); err == nil || !strings.Contains(err.Error(), "changed from") {
			t.Errorf("%+d bytes: %v", change, err)
		}
	}
}
