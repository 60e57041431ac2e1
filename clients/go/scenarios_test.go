package taraexport_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// ../README.md documents the scenarios.
type scenarioFile struct {
	Request   scenarioRequest
	Scenarios []struct {
		Name   string
		Server scenarioServer
		Client scenarioClient
		Steps  []step
	}
}

type scenarioRequest struct {
	Review    json.RawMessage
	Documents []scenarioDocument
}

type scenarioDocument struct {
	Kind      string
	FileName  string `json:"file_name"`
	Text      string
	SizeBytes int `json:"size_bytes"`
}

type step struct {
	World  string
	Export *struct {
		scenarioRequest
		As           string
		RequestID    string   `json:"request_id"`
		NotifyEmails []string `json:"notify_emails"`
		WhenAccepted []string `json:"when_accepted"`
	}
	Batch *struct {
		BatchID string `json:"batch_id"`
		Items   []struct {
			RequestID string `json:"request_id"`
			Review    json.RawMessage
		}
	}
	Get *struct{ Of, Name string }
	// The filter may be empty.
	List *struct {
		Filter   string
		PageSize int32 `json:"page_size"`
	}
	Download *struct{ Of, Path string }
	Bundle   *struct{ Of string }
	notificationStep
	Expect expectation
	Until  *expectation
}

type expectation struct {
	State             string
	StoredIn          string  `json:"stored_in"`
	ArtifactCount     *int32  `json:"artifact_count"`
	DocumentName      *string `json:"document_name"`
	Reviewer          *string
	FellBack          string `json:"fell_back"`
	SameAs            string `json:"same_as"`
	Exports           []string
	SHA256            string
	SHA256OfSizeBytes int `json:"sha256_of_size_bytes"`
	Files             int
	Code              string
	Reason            string
	Fields            []string
	TokenError        string `json:"token_error"`
	Committed         int32
	Refused           int32
	notificationExpectation
}

func TestScenarios(t *testing.T) {
	text, err := os.ReadFile("../scenarios.json")
	if err != nil {
		t.Fatal(err)
	}
	var file scenarioFile
	decoder := json.NewDecoder(bytes.NewReader(text))
	// Unknown steps must fail.
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		for _, scenario := range file.Scenarios {
			t.Run(scenario.Name, func(t *testing.T) {
				ca := newAuthority(t)
				world := startWorld(t, scenario.Server.environment(t, ca)...)
				address, scheme := world.GRPC, "http://"
				if len(options) > 0 {
					address = world.HTTP1
				}
				if scenario.Server.TLS || scenario.Server.MutualTLS {
					scheme = "https://"
				}
				options := append(scenario.Client.options(t, ca), options...)
				player := &player{
					T: t, world: world, client: connect(t, scheme+address, options...), defaults: file.Request,
					exports: map[string]*exportv1.Export{}, secrets: scenario.Client.secrets(),
				}
				player.checkSecrets(player.client)
				for number, step := range scenario.Steps {
					player.where = fmt.Sprintf("step %d", number+1)
					player.play(step)
				}
			})
		}
	})
}

// player runs one scenario.
type player struct {
	*testing.T
	world    *world
	client   *taraexport.Client
	defaults scenarioRequest
	exports  map[string]*exportv1.Export
	where    string
	secrets  []string
}

// checkSecrets checks that no token is in a text of the value.
func (player *player) checkSecrets(value any) {
	player.Helper()
	for _, text := range []string{fmt.Sprint(value), fmt.Sprintf("%+v", value), fmt.Sprintf("%#v", value)} {
		for _, secret := range player.secrets {
			player.check(!strings.Contains(text, secret), "a token is in %s", text)
		}
	}
}

func (player *player) play(step step) {
	player.Helper()
	switch expect := step.Expect; {
	case step.World != "":
		player.must(player.world.run(step.World))
	case step.Export != nil:
		player.export(step)
	case step.Batch != nil:
		player.batch(step)
	case step.Get != nil:
		player.get(step)
	case step.List != nil:
		request := &exportv1.ListExportsRequest{Filter: step.List.Filter, PageSize: step.List.PageSize}
		var names, want []string
		var failed error
		for export, err := range player.client.ListExports(player.Context(), request) {
			failed = err
			names = append(names, export.GetName())
		}
		if player.isFailure(failed, expect) {
			return
		}
		for _, key := range expect.Exports {
			want = append(want, player.exports[key].GetName())
		}
		player.check(slices.Equal(names, want), "the list is %v instead of %v", names, want)
	case step.Download != nil:
		target := filepath.Join(player.TempDir(), "file")
		name := player.exports[step.Download.Of].GetName()
		_, err := player.client.DownloadArtifact(player.Context(), name, step.Download.Path, target)
		if player.isFailure(err, expect) {
			return
		}
		content, err := os.ReadFile(target)
		player.must(err)
		want := expect.SHA256
		if want == "" {
			want = digest(patterned(expect.SHA256OfSizeBytes))
		}
		player.check(digest(content) == want, "the digest is %s instead of %s", digest(content), want)
	case step.Bundle != nil:
		target := filepath.Join(player.TempDir(), "bundle.zip")
		_, err := player.client.DownloadBundle(player.Context(), player.exports[step.Bundle.Of].GetName(), target)
		player.must(err)
		archive, err := zip.OpenReader(target)
		player.must(err)
		defer archive.Close()
		player.check(len(archive.File) == expect.Files, "there are %d files", len(archive.File))
	default:
		player.notifications(step)
	}
}

func (player *player) export(step step) {
	player.Helper()
	request, options := player.request(step)
	last := map[string]int64{}
	fellBack := ""
	isAccepted := false
	options = append(options, taraexport.OnUpdate(func(update taraexport.Update) {
		event := update.Event
		if event.GetFellBack() != nil {
			fellBack = event.GetFellBack().GetReason()
		}
		if event.GetAccepted() != nil && !isAccepted {
			isAccepted = true
			for _, command := range step.Export.WhenAccepted {
				player.must(player.world.run(command))
			}
		}
		if event == nil || event.GetRunId() == "" || event.GetHeartbeat() != nil || event.GetArtifactProgress() != nil {
			return
		}
		player.check(event.GetSequence() > last[event.GetRunId()], "event %d is out of order", event.GetSequence())
		last[event.GetRunId()] = event.GetSequence()
	}))
	result, err := player.client.Export(player.Context(), request, options...)
	if player.isFailure(err, step.Expect) {
		return
	}
	player.check(step.Expect.FellBack == fellBack, "it fell back for %q", fellBack)
	player.exports[step.Export.As] = result.Export
	for _, wrong := range player.differences(result.Export, step.Expect) {
		player.Errorf("%s: %s", player.where, wrong)
	}
}

func (player *player) batch(step step) {
	player.Helper()
	request := &exportv1.BatchStartExportsRequest{BatchId: step.Batch.BatchID}
	for _, item := range step.Batch.Items {
		review := item.Review
		if review == nil {
			review = player.defaults.Review
		}
		one := &exportv1.StartExportRequest{RequestId: item.RequestID, Review: &exportv1.Review{}}
		player.must(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(review, one.Review))
		for _, document := range player.defaults.Documents {
			one.Documents = append(one.Documents, &exportv1.Document{
				Kind:     exportv1.Document_Kind(exportv1.Document_Kind_value[document.Kind]),
				FileName: document.FileName,
				Source:   &exportv1.Document_Content{Content: []byte(document.Text)},
			})
		}
		request.Requests = append(request.Requests, one)
	}
	seen := map[int32]bool{}
	batch, err := player.client.ExportBatch(player.Context(), request, func(item *exportv1.BatchItem) {
		player.check(!seen[item.GetIndex()], "the result of item %d arrived twice", item.GetIndex())
		seen[item.GetIndex()] = true
	})
	if player.isFailure(err, step.Expect) {
		return
	}
	player.check(len(seen) == len(request.Requests), "there are %d results", len(seen))
	counts := batch.GetCounts()
	isExpected := counts.GetCommitted() == step.Expect.Committed && counts.GetRefused() == step.Expect.Refused
	player.check(isExpected, "the counts are %v", counts)
}

func (player *player) request(step step) (*exportv1.StartExportRequest, []taraexport.ExportOption) {
	player.Helper()
	review, documents := step.Export.Review, step.Export.Documents
	if review == nil {
		review = player.defaults.Review
	}
	if documents == nil {
		documents = player.defaults.Documents
	}
	request := &exportv1.StartExportRequest{
		RequestId: step.Export.RequestID, Review: &exportv1.Review{}, NotifyEmails: step.Export.NotifyEmails,
	}
	player.must(protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(review, request.Review))
	var options []taraexport.ExportOption
	for _, document := range documents {
		kind := exportv1.Document_Kind(exportv1.Document_Kind_value[document.Kind])
		if document.SizeBytes > 0 {
			path := filepath.Join(player.TempDir(), document.FileName)
			player.must(os.WriteFile(path, patterned(document.SizeBytes), 0o600))
			options = append(options, taraexport.AttachFile(kind, path))
		} else {
			options = append(options, taraexport.Attach(kind, document.FileName, strings.NewReader(document.Text)))
		}
	}
	return request, options
}

func (player *player) get(step step) {
	player.Helper()
	name := step.Get.Name
	if name == "" {
		name = player.exports[step.Get.Of].GetName()
	}
	player.compare(step, func(expect expectation) ([]string, error) {
		export, err := player.client.GetExport(player.Context(), name)
		if err != nil {
			return nil, err
		}
		return player.differences(export, expect), nil
	})
}

// compare runs a step that returns its differences from an expectation, until there are none if the step has Until.
func (player *player) compare(step step, run func(expectation) ([]string, error)) {
	player.Helper()
	if step.Until == nil {
		wrong, err := run(step.Expect)
		if player.isFailure(err, step.Expect) {
			return
		}
		for _, each := range wrong {
			player.Errorf("%s: %s", player.where, each)
		}
		return
	}
	// The state is in another process, so it must be polled.
	for end := time.Now().Add(time.Minute); ; {
		wrong, err := run(*step.Until)
		player.must(err)
		if len(wrong) == 0 {
			return
		}
		if time.Now().After(end) {
			player.Fatalf("%s: still %v", player.where, wrong)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// isFailure checks an expected failure. It reports whether the step was expected to fail.
func (player *player) isFailure(err error, expect expectation) bool {
	player.Helper()
	if expect.TokenError != "" {
		player.check(err != nil && strings.Contains(err.Error(), expect.TokenError), "%v", err)
		return true
	}
	player.checkSecrets(err)
	if expect.Code == "" {
		player.must(err)
		return false
	}
	failure := (*taraexport.Error)(nil)
	if !errors.As(err, &failure) {
		player.Fatalf("%s: %v instead of %s", player.where, err, expect.Code)
	}
	var code codes.Code
	player.must(json.Unmarshal([]byte(`"`+expect.Code+`"`), &code))
	player.check(failure.Code == code && failure.Reason == expect.Reason, "it failed with %v", failure)
	if expect.Fields != nil {
		var fields []string
		for _, violation := range failure.FieldViolations {
			fields = append(fields, violation.Field)
		}
		player.check(slices.Equal(fields, expect.Fields), "the violated fields are %v", fields)
	}
	return true
}

func (player *player) differences(export *exportv1.Export, expect expectation) (wrong []string) {
	compare := func(name string, got, want any) {
		if got != want {
			wrong = append(wrong, fmt.Sprintf("%s is %v instead of %v", name, got, want))
		}
	}
	if expect.State != "" {
		compare("the state", export.GetState().String(), expect.State)
	}
	if expect.StoredIn != "" {
		compare("the store", export.GetStoredIn().String(), expect.StoredIn)
	}
	if expect.ArtifactCount != nil {
		compare("the number of artifacts", export.GetArtifactCount(), *expect.ArtifactCount)
	}
	if expect.DocumentName != nil {
		compare("the document", export.GetDocumentName(), *expect.DocumentName)
	}
	if expect.Reviewer != nil {
		compare("the reviewer", export.GetReviewer(), *expect.Reviewer)
	}
	if expect.SameAs != "" {
		compare("the name", export.GetName(), player.exports[expect.SameAs].GetName())
		compare("the manifest", export.GetManifestSha256(), player.exports[expect.SameAs].GetManifestSha256())
	}
	return wrong
}

func (player *player) must(err error) {
	player.Helper()
	if err != nil {
		player.Fatalf("%s: %v", player.where, err)
	}
}

func (player *player) check(condition bool, format string, arguments ...any) {
	player.Helper()
	if !condition {
		player.Errorf(player.where+": "+format, arguments...)
	}
}

// patterned returns the content of a document of this size.
func patterned(size int) []byte {
	content := make([]byte, size)
	for index := range content {
		content[index] = byte(index * 31 % 251)
	}
	return content
}

func digest(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}
