package taraexport_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// onEachTransport runs a test over native gRPC and over gRPC-Web with HTTP/1.1.
func onEachTransport(t *testing.T, test func(*testing.T, ...taraexport.Option)) {
	t.Run("grpc", func(t *testing.T) { test(t) })
	t.Run("grpc-web", func(t *testing.T) { test(t, taraexport.WithGRPCWeb(nil)) })
}

func reviewed(documentName string) *exportv1.StartExportRequest {
	description := "Die Zeiten haben keine Zone. 時刻"
	item := &exportv1.FeedbackItem{Description: &description}
	return &exportv1.StartExportRequest{
		RequestId: uuid.NewString(),
		Review: &exportv1.Review{
			DocumentName: documentName,
			Reviewer:     "Ada Lovelace",
			Suggestions:  []*exportv1.FeedbackSection{{Name: "Überblick", Items: []*exportv1.FeedbackItem{item}}},
		},
	}
}

// randomBytes returns the same bytes in every run.
func randomBytes(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content)
	return content
}

// export exports and checks that the events have no gaps or duplicates.
func export(
	t *testing.T, client *taraexport.Client, request *exportv1.StartExportRequest, options ...taraexport.ExportOption,
) *taraexport.Result {
	t.Helper()
	last := map[string]int64{}
	onUpdate := taraexport.OnUpdate(func(update taraexport.Update) {
		event := update.Event
		if event == nil || event.GetHeartbeat() != nil || event.GetArtifactProgress() != nil || event.GetRunId() == "" {
			return
		}
		if event.GetSequence() != last[event.GetRunId()]+1 {
			t.Errorf("event %d follows %d", event.GetSequence(), last[event.GetRunId()])
		}
		last[event.GetRunId()] = event.GetSequence()
	})
	result, err := client.Export(t.Context(), request, append(options, onUpdate)...)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func artifact(t *testing.T, result *taraexport.Result, path string) *exportv1.Artifact {
	t.Helper()
	for _, artifact := range result.Export.GetArtifacts() {
		if artifact.GetPath() == path {
			return artifact
		}
	}
	t.Fatalf("there is no %s", path)
	return nil
}

func wantError(t *testing.T, err error, code codes.Code, reason string) *taraexport.Error {
	t.Helper()
	failure := (*taraexport.Error)(nil)
	if !errors.As(err, &failure) || failure.Code != code || failure.Reason != reason {
		t.Fatalf("%v instead of %s, %s", err, code, reason)
	}
	return failure
}

func wantEqual[Value comparable](t *testing.T, name string, got, want Value) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v instead of %v", name, got, want)
	}
}

func TestExportWithUnicodeNamesIsCommitted(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		content := taraexport.Attach(exportv1.Document_KIND_BEFORE, "vorher 前.docx", bytes.NewReader([]byte("vorher")))
		result := export(t, client, reviewed("Störungsbericht 事故報告.docx"), content)
		wantEqual(t, "the store", result.StoredIn, exportv1.Destination_DESTINATION_LOCAL)
		wantEqual(t, "the fallback", result.FellBack, false)
		document := artifact(t, result, "documents/before_Störungsbericht_事故報告.docx")
		wantEqual(t, "the document's size", document.GetSizeBytes(), 6)
		read, err := client.GetExport(t.Context(), result.Name)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "the name", read.GetDocumentName(), "Störungsbericht 事故報告.docx")
		wantEqual(t, "the manifest", read.GetManifestSha256(), result.ManifestSHA256)
	})
}

func TestS3OutageCausesFallback(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t, s3Outage()...), options...)
		result := export(t, client, reviewed("report.docx"))
		wantEqual(t, "the fallback", result.FellBack, true)
		wantEqual(t, "the store", result.StoredIn, exportv1.Destination_DESTINATION_LOCAL)
		request := reviewed("report.docx")
		request.Fallback = exportv1.Fallback_FALLBACK_NONE
		_, err := client.Export(t.Context(), request)
		wantError(t, err, codes.Unavailable, "STORE_UNAVAILABLE")
	})
}

func TestSameIDCreatesOneBundle(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		request := reviewed("report.docx")
		first, again := export(t, client, request), export(t, client, request)
		wantEqual(t, "the manifest", again.ManifestSHA256, first.ManifestSHA256)
		request.Review.Reviewer = "Grace Hopper"
		_, err := client.Export(t.Context(), request)
		failure := wantError(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED")
		wantEqual(t, "the first export", failure.Metadata["export"], first.Name)
	})
}

func TestInterruptedStreamIsResumed(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		server := startServer(t)
		for _, toClient := range []int{1, 300, 900, 2000} {
			t.Run(fmt.Sprint(toClient), func(t *testing.T) {
				proxy := startCuttingProxy(t, server, toClient, -1)
				result := export(t, connect(t, proxy.url, options...), reviewed("report.docx"))
				wantEqual(t, "the number of cuts", proxy.cutCount(), 1)
				read, err := connect(t, server, options...).GetExport(t.Context(), result.Name)
				if err != nil {
					t.Fatal(err)
				}
				wantEqual(t, "the state", read.GetState(), exportv1.Export_STATE_COMMITTED)
			})
		}
		bundles := 0
		for _, err := range connect(t, server).ListExports(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			bundles++
		}
		wantEqual(t, "the number of bundles", bundles, 4)
	})
}

func TestLargeUploadResumesAfterDisconnect(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		content := randomBytes(40 * 1024 * 1024)
		proxy := startCuttingProxy(t, startServer(t), -1, 30*1024*1024)
		uploaded, resumed := int64(0), int64(0)
		progress := taraexport.OnUpdate(func(update taraexport.Update) {
			if upload := update.Upload; upload != nil {
				if upload.DoneBytes < uploaded {
					resumed = upload.DoneBytes
				}
				uploaded = upload.DoneBytes
			}
		})
		document := taraexport.Attach(exportv1.Document_KIND_AFTER, "after.pdf", bytes.NewReader(content))
		result, err := connect(t, proxy.url, options...).Export(t.Context(), reviewed("report.pdf"), document, progress)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "the number of cuts", proxy.cutCount(), 1)
		wantEqual(t, "the number of uploaded bytes", uploaded, int64(len(content)))
		if len(options) == 0 && resumed < 1 {
			t.Errorf("the upload resumed at %d", resumed)
		}
		digest := sha256.Sum256(content)
		wantEqual(t, "the digest", artifact(t, result, "documents/after_report.pdf").GetSha256(), hex.EncodeToString(digest[:]))
	})
}

func TestErrorsIncludeDetails(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		_, err := client.Export(t.Context(), &exportv1.StartExportRequest{Review: &exportv1.Review{}})
		failure := wantError(t, err, codes.InvalidArgument, "INVALID_REQUEST")
		if len(failure.FieldViolations) == 0 || failure.FieldViolations[0].Field != "review.document_name" {
			t.Errorf("wrong fields: %v", failure.FieldViolations)
		}
		_, err = client.GetExport(t.Context(), "exports/"+uuid.NewString())
		wantError(t, err, codes.NotFound, "EXPORT_NOT_FOUND")
		_, err = client.Watch(t.Context(), "exports/"+uuid.NewString())
		wantError(t, err, codes.NotFound, "EXPORT_NOT_HERE")
	})
}

func TestReplacedValuesAreListedInTheExport(t *testing.T) {
	request := reviewed("report \xff.docx")
	request.Review.Suggestions[0].Items[0].AdditionalFields = &structpb.Struct{Fields: map[string]*structpb.Value{
		"ticket": structpb.NewNumberValue(9007199254740994),
	}}
	request.Review.Suggestions[0].Items[0].Confidence = proto.Float64(math.NaN())
	given := &exportv1.Document{
		Kind: exportv1.Document_KIND_BEFORE, FileName: "before \xff.docx",
		Source: &exportv1.Document_Content{Content: []byte("before")},
	}
	request.Documents = append(request.Documents, given)
	// A file system's names can be any bytes.
	path := filepath.Join(t.TempDir(), "after \xfe.docx")
	if err := os.WriteFile(path, []byte("after"), 0o600); err != nil {
		t.Fatal(err)
	}
	client := connect(t, startServer(t))
	result := export(t, client, request, taraexport.AttachFile(exportv1.Document_KIND_AFTER, path))
	wantEqual(t, "the caller's name", given.FileName, "before \xff.docx")
	exported, err := client.GetExport(t.Context(), result.Name)
	if err != nil {
		t.Fatal(err)
	}
	item := `["Überblick"][0]`
	var list []string
	for _, entry := range exported.GetReplacements() {
		list = append(list, entry.GetPath()+" "+entry.GetReason())
	}
	wantEqual(t, "the replacements", strings.Join(list, ", "), "document_name NOT_UNICODE, "+
		"suggestions"+item+".confidence NOT_FINITE, suggestions"+item+".ticket NOT_EXACT, "+
		"documents[0].file_name NOT_UNICODE, documents[1].file_name NOT_UNICODE")
}

func TestListReturnsAllPages(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		want := map[string]bool{}
		for number := range 5 {
			want[export(t, client, reviewed(fmt.Sprintf("report %d.docx", number))).Name] = true
		}
		for listed, err := range client.ListExports(t.Context(), &exportv1.ListExportsRequest{PageSize: 2}) {
			if err != nil {
				t.Fatal(err)
			}
			if !want[listed.GetName()] {
				t.Errorf("%s is listed twice or is unknown", listed.GetName())
			}
			delete(want, listed.GetName())
		}
		wantEqual(t, "the number of exports not listed", len(want), 0)
	})
}

func TestDownloadsAreVerified(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		server := startServer(t)
		content := randomBytes(12 * 1024 * 1024)
		document := taraexport.Attach(exportv1.Document_KIND_AFTER, "after.pdf", bytes.NewReader(content))
		result := export(t, connect(t, server, options...), reviewed("report.pdf"), document)
		proxy := startCuttingProxy(t, server, 5*1024*1024, -1)
		client := connect(t, proxy.url, options...)
		target := filepath.Join(t.TempDir(), "after.pdf")
		if _, err := client.DownloadArtifact(t.Context(), result.Name, "documents/after_report.pdf", target); err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "the number of cuts", proxy.cutCount(), 1)
		read, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "whether the content is the same", bytes.Equal(read, content), true)

		target = filepath.Join(t.TempDir(), "bundle.zip")
		if _, err := client.DownloadBundle(t.Context(), result.Name, target); err != nil {
			t.Fatal(err)
		}
		archive, err := zip.OpenReader(target)
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		wantEqual(t, "the number of files", len(archive.File), result.ArtifactCount+2)

		missing := filepath.Join(t.TempDir(), "missing")
		_, err = client.DownloadArtifact(t.Context(), result.Name, "no/such.file", missing)
		wantError(t, err, codes.NotFound, "ARTIFACT_NOT_FOUND")
		remaining, _ := os.ReadDir(filepath.Dir(missing))
		wantEqual(t, "the number of files after a failed download", len(remaining), 0)
	})
}

func TestExportContinuesWithoutItsCaller(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		ctx, cancel := context.WithCancel(t.Context())
		request := reviewed("report.docx")
		_, err := client.Export(ctx, request, taraexport.OnUpdate(func(update taraexport.Update) { cancel() }))
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		result, err := client.Watch(t.Context(), "exports/"+request.RequestId)
		if err != nil {
			t.Fatal(err)
		}
		wantEqual(t, "the store", result.StoredIn, exportv1.Destination_DESTINATION_LOCAL)
	})
}

func TestUnaryCallIsRetried(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		proxy := startCuttingProxy(t, startServer(t), 1, -1)
		_, err := connect(t, proxy.url, options...).GetExport(t.Context(), "exports/"+uuid.NewString())
		wantError(t, err, codes.NotFound, "EXPORT_NOT_FOUND")
		wantEqual(t, "the number of cuts", proxy.cutCount(), 1)
	})
}

func TestUnaryCallHasDeadline(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		// Accepts connections and never responds.
		silent := listen(t)
		defer silent.Close()
		policy := taraexport.DefaultPolicy()
		policy.Deadline = 200 * time.Millisecond
		client := connect(t, "http://"+silent.Addr().String(), append(options, taraexport.WithPolicy(policy))...)
		_, err := client.CheckStorage(t.Context())
		wantError(t, err, codes.DeadlineExceeded, "")
	})
}

func TestProgressTimeoutEndsExport(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		policy := taraexport.DefaultPolicy()
		policy.ProgressTimeout = 500 * time.Millisecond
		client := connect(t, unreachable, append(options, taraexport.WithPolicy(policy))...)
		_, err := client.Export(t.Context(), reviewed("report.docx"))
		wantError(t, err, codes.Unavailable, taraexport.ReasonLostContact)
	})
}
