package taraexport_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// onEachTransport runs a test over native gRPC, and again over gRPC-Web and HTTP/1.1.
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

// randomBytes are the same for every run.
func randomBytes(size int) []byte {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(content)
	return content
}

// export exports, and checks that events come gapless and once.
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
			t.Errorf("event %d came after %d", event.GetSequence(), last[event.GetRunId()])
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

func wantSame[Value comparable](t *testing.T, what string, got, want Value) {
	t.Helper()
	if got != want {
		t.Errorf("%s is %v instead of %v", what, got, want)
	}
}

func TestExportWithUnicodeNamesIsCommitted(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		content := taraexport.Attach(exportv1.Document_KIND_BEFORE, "vorher 前.docx", bytes.NewReader([]byte("vorher")))
		result := export(t, client, reviewed("Störungsbericht 事故報告.docx"), content)
		wantSame(t, "the place", result.StoredIn, exportv1.Destination_DESTINATION_LOCAL)
		wantSame(t, "the fallback", result.FellBack, false)
		document := artifact(t, result, "documents/before_Störungsbericht_事故報告.docx")
		wantSame(t, "the document's size", document.GetSizeBytes(), 6)
		read, err := client.GetExport(t.Context(), result.Name)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "the name", read.GetDocumentName(), "Störungsbericht 事故報告.docx")
		wantSame(t, "the manifest", read.GetManifestSha256(), result.ManifestSHA256)
	})
}

func TestWhatS3CantTakeFallsBack(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t, anOutage()...), options...)
		result := export(t, client, reviewed("report.docx"))
		wantSame(t, "the fallback", result.FellBack, true)
		wantSame(t, "the place", result.StoredIn, exportv1.Destination_DESTINATION_LOCAL)
		request := reviewed("report.docx")
		request.Fallback = exportv1.Fallback_FALLBACK_NONE
		_, err := client.Export(t.Context(), request)
		wantError(t, err, codes.Unavailable, "STORE_UNAVAILABLE")
	})
}

func TestTheSameIDMakesOneBundle(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		request := reviewed("report.docx")
		first, again := export(t, client, request), export(t, client, request)
		wantSame(t, "the manifest", again.ManifestSHA256, first.ManifestSHA256)
		request.Review.Reviewer = "Somebody else"
		_, err := client.Export(t.Context(), request)
		failure := wantError(t, err, codes.AlreadyExists, "REQUEST_ID_REUSED")
		wantSame(t, "the first export", failure.Metadata["export"], first.Name)
	})
}

func TestACutStreamIsWatched(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		server := startServer(t)
		for _, toClient := range []int{1, 300, 900, 2000} {
			t.Run(fmt.Sprint(toClient), func(t *testing.T) {
				proxy := startCutter(t, server, toClient, -1)
				result := export(t, connect(t, proxy.url, options...), reviewed("report.docx"))
				wantSame(t, "the number of cuts", proxy.cutCount(), 1)
				read, err := connect(t, server, options...).GetExport(t.Context(), result.Name)
				if err != nil {
					t.Fatal(err)
				}
				wantSame(t, "the state", read.GetState(), exportv1.Export_STATE_COMMITTED)
			})
		}
		bundles := 0
		for _, err := range connect(t, server).ListExports(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			bundles++
		}
		wantSame(t, "the number of bundles", bundles, 4)
	})
}

func TestLargeDocumentsGoAheadAndOnAfterACut(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		content := randomBytes(40 * 1024 * 1024)
		proxy := startCutter(t, startServer(t), -1, 30*1024*1024)
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
		wantSame(t, "the number of cuts", proxy.cutCount(), 1)
		wantSame(t, "what was uploaded", uploaded, int64(len(content)))
		if len(options) == 0 && resumed < 1 {
			t.Errorf("the upload went on at %d", resumed)
		}
		digest := sha256.Sum256(content)
		wantSame(t, "the digest", artifact(t, result, "documents/after_report.pdf").GetSha256(), hex.EncodeToString(digest[:]))
	})
}

func TestErrorsHaveTheirDetails(t *testing.T) {
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

func TestNumbersThatWouldBeRoundedAreRefused(t *testing.T) {
	request := reviewed("report.docx")
	request.Review.Suggestions[0].Items[0].AdditionalFields = &structpb.Struct{Fields: map[string]*structpb.Value{
		"ticket": structpb.NewNumberValue(9007199254740993),
	}}
	_, err := connect(t, nowhere).Export(t.Context(), request)
	failure := wantError(t, err, codes.InvalidArgument, taraexport.ReasonNotExact)
	field := failure.FieldViolations[0].Field
	wantSame(t, "the field", field, "review.suggestions[0].items[0].additional_fields.ticket")
}

func TestListsGoOnToTheEnd(t *testing.T) {
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
				t.Errorf("%s came twice, or from nowhere", listed.GetName())
			}
			delete(want, listed.GetName())
		}
		wantSame(t, "the number of exports not listed", len(want), 0)
	})
}

func TestDownloadsAreChecked(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		server := startServer(t)
		content := randomBytes(12 * 1024 * 1024)
		document := taraexport.Attach(exportv1.Document_KIND_AFTER, "after.pdf", bytes.NewReader(content))
		result := export(t, connect(t, server, options...), reviewed("report.pdf"), document)
		proxy := startCutter(t, server, 5*1024*1024, -1)
		client := connect(t, proxy.url, options...)
		target := filepath.Join(t.TempDir(), "after.pdf")
		if _, err := client.DownloadArtifact(t.Context(), result.Name, "documents/after_report.pdf", target); err != nil {
			t.Fatal(err)
		}
		wantSame(t, "the number of cuts", proxy.cutCount(), 1)
		read, err := os.ReadFile(target)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "whether the content is the same", bytes.Equal(read, content), true)

		target = filepath.Join(t.TempDir(), "bundle.zip")
		if _, err := client.DownloadBundle(t.Context(), result.Name, target); err != nil {
			t.Fatal(err)
		}
		archive, err := zip.OpenReader(target)
		if err != nil {
			t.Fatal(err)
		}
		defer archive.Close()
		wantSame(t, "the number of files", len(archive.File), result.ArtifactCount+1)

		missing := filepath.Join(t.TempDir(), "missing")
		_, err = client.DownloadArtifact(t.Context(), result.Name, "no/such.file", missing)
		wantError(t, err, codes.NotFound, "ARTIFACT_NOT_FOUND")
		left, _ := os.ReadDir(filepath.Dir(missing))
		wantSame(t, "the number of files that a failed download leaves", len(left), 0)
	})
}

func TestAnExportGoesOnWithoutItsCaller(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		client := connect(t, startServer(t), options...)
		ctx, leave := context.WithCancel(t.Context())
		request := reviewed("report.docx")
		_, err := client.Export(ctx, request, taraexport.OnUpdate(func(update taraexport.Update) { leave() }))
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		result, err := client.Watch(t.Context(), "exports/"+request.RequestId)
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "the place", result.StoredIn, exportv1.Destination_DESTINATION_LOCAL)
	})
}

func TestACallWithOneAnswerIsSentAgain(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		proxy := startCutter(t, startServer(t), 1, -1)
		_, err := connect(t, proxy.url, options...).GetExport(t.Context(), "exports/"+uuid.NewString())
		wantError(t, err, codes.NotFound, "EXPORT_NOT_FOUND")
		wantSame(t, "the number of cuts", proxy.cutCount(), 1)
	})
}

func TestACallWithOneAnswerHasADeadline(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		// It takes connections, and never says a word.
		silent := listen(t)
		defer silent.Close()
		policy := taraexport.DefaultPolicy()
		policy.Deadline = 200 * time.Millisecond
		client := connect(t, "http://"+silent.Addr().String(), append(options, taraexport.WithPolicy(policy))...)
		_, err := client.CheckStorage(t.Context())
		wantError(t, err, codes.DeadlineExceeded, "")
	})
}

func TestPatienceEnds(t *testing.T) {
	onEachTransport(t, func(t *testing.T, options ...taraexport.Option) {
		policy := taraexport.DefaultPolicy()
		policy.Patience = 500 * time.Millisecond
		client := connect(t, nowhere, append(options, taraexport.WithPolicy(policy))...)
		_, err := client.Export(t.Context(), reviewed("report.docx"))
		wantError(t, err, codes.Unavailable, taraexport.ReasonLostContact)
	})
}
