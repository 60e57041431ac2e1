package taraexport

import (
	"encoding/json"
	"os"
	"testing"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// The names that every client accepts or rejects.
type sharedNames struct {
	Names []struct {
		Name     string
		InBundle bool `json:"in_bundle"`
		OnDisk   bool `json:"on_disk"`
	}
	Folders, Exports, Uploads []struct {
		Name     string
		Accepted bool
	}
	Paths []struct {
		Path     string
		Accepted bool
	}
	Links []struct {
		URI      string
		Accepted bool
	}
	Texts []struct{ Text, Printed string }
}

func readShared(t *testing.T) (shared sharedNames) {
	t.Helper()
	content, err := os.ReadFile("../hostile-server.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &shared); err != nil {
		t.Fatal(err)
	}
	return shared
}

func TestNamesInResponsesAreChecked(t *testing.T) {
	expect := func(kind, value string, isAccepted, expected bool) {
		t.Helper()
		if isAccepted != expected {
			t.Errorf("%s %q: accepted: %t", kind, value, isAccepted)
		}
	}
	shared := readShared(t)
	for _, row := range shared.Names {
		expect("segment", row.Name, segmentViolation(row.Name) == "", row.InBundle)
		expect("file name", row.Name, CheckFileName(row.Name) == nil, row.OnDisk)
	}
	for _, row := range shared.Folders {
		expect("folder", row.Name, folderViolation(row.Name) == "", row.Accepted)
	}
	for _, row := range shared.Paths {
		expect("path", row.Path, pathViolation(row.Path) == "", row.Accepted)
	}
	for _, row := range shared.Exports {
		expect("export", row.Name, checkListed(&exportv1.Export{Name: row.Name}) == nil, row.Accepted)
	}
	for _, row := range shared.Uploads {
		expect("upload", row.Name, checkUpload(&exportv1.Upload{Name: row.Name}, "", 0) == nil, row.Accepted)
	}
	for _, row := range shared.Links {
		expect("link", row.URI, linkViolation(row.URI) == "", row.Accepted)
	}
	for _, row := range shared.Texts {
		if printed := Printable(row.Text); printed != row.Printed {
			t.Errorf("%q is printed as %q", row.Text, printed)
		}
	}
}
