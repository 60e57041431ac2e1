package taraexport

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Result is a bundle that is whole.
type Result struct {
	// Name is exports/{export_id}.
	Name string
	// Location is s3://bucket/base/folder/, or a path on the server's disk.
	Location string
	// FolderName is the bundle's folder.
	FolderName string
	// StoredIn is where the bundle is now.
	StoredIn exportv1.Destination
	// FellBack tells that S3 was asked for and could not take the bundle: it is on the server's disk,
	// and goes to S3 by itself.
	FellBack bool
	// ArtifactCount is how many artifacts it has, the manifest not counted.
	ArtifactCount int
	// SizeBytes counts the bytes of all artifacts.
	SizeBytes int64
	// ManifestSHA256 is the digest of manifest.json: who keeps it can prove the bundle later.
	ManifestSHA256 string
	// Export is everything the server says, with the artifacts.
	Export *exportv1.Export
}

// Update is news of an export: one of its fields is set.
type Update struct {
	// Upload: a large document goes ahead of the request.
	Upload *UploadProgress
	// Event: the server says something.
	Event *exportv1.ExportEvent
}

// ExportOption adds to an export.
type ExportOption func(*exportSettings)

type exportSettings struct {
	onUpdate func(Update)
	attached []attachment
}

// OnUpdate has a function called with all news of the export, one after the other, on the goroutine
// that exports.
func OnUpdate(tell func(Update)) ExportOption {
	return func(set *exportSettings) { set.onUpdate = tell }
}

// AttachFile adds a file as one of the documents, whatever its size.
func AttachFile(kind exportv1.Document_Kind, path string) ExportOption {
	return func(set *exportSettings) { set.attached = append(set.attached, attachment{kind: kind, path: path}) }
}

// Attach adds bytes that are somewhere else as one of the documents, whatever their size.
func Attach(kind exportv1.Document_Kind, fileName string, content Content) ExportOption {
	return func(set *exportSettings) {
		set.attached = append(set.attached, attachment{kind: kind, fileName: fileName, content: content})
	}
}

// Export exports a review, follows it to its end, and returns the bundle, also one that fell back to
// the server's disk. What is large of the documents goes ahead of the request by itself.
//
// The request's id is made once, when it has none; the same id never makes a second bundle. Lost
// connections and restarted servers are survived, and no event of one run is told twice.
//
// It waits as long as the server says that the export goes on: the context is the caller's limit. An
// export that was accepted goes on when the context ends.
func (client *Client) Export(
	ctx context.Context, request *exportv1.StartExportRequest, options ...ExportOption,
) (*Result, error) {
	set := newExportSettings(options)
	prepared, err := client.prepare(ctx, request, set)
	if err != nil {
		return nil, err
	}
	if prepared.RequestId == "" {
		prepared.RequestId = uuid.NewString()
	}
	return client.follow("exports/"+prepared.RequestId, prepared).run(ctx, set.onUpdate)
}

// Watch follows an export that was started before, from any process, to its end: name is
// exports/{export_id}. Of the options [OnUpdate] has an effect.
func (client *Client) Watch(ctx context.Context, name string, options ...ExportOption) (*Result, error) {
	return client.follow(name, nil).run(ctx, newExportSettings(options).onUpdate)
}

func newExportSettings(options []ExportOption) exportSettings {
	set := exportSettings{onUpdate: func(Update) {}}
	for _, option := range options {
		option(&set)
	}
	return set
}

func (follower *follower) run(ctx context.Context, tell func(Update)) (*Result, error) {
	defer follower.close()
	for {
		event, err := follower.next(ctx)
		if err != nil {
			return nil, err
		}
		tell(Update{Event: event})
		if completed := event.GetCompleted(); completed != nil {
			return resultOf(completed.GetExport()), nil
		}
		if failed := event.GetFailed(); failed != nil {
			return nil, failureOf(failed, follower.endingCode(ctx))
		}
	}
}

func resultOf(export *exportv1.Export) *Result {
	return &Result{
		Name:           export.GetName(),
		Location:       export.GetLocation(),
		FolderName:     export.GetFolderName(),
		StoredIn:       export.GetStoredIn(),
		FellBack:       export.GetState() == exportv1.Export_STATE_FELL_BACK,
		ArtifactCount:  int(export.GetArtifactCount()),
		SizeBytes:      export.GetSizeBytes(),
		ManifestSHA256: export.GetManifestSha256(),
		Export:         export,
	}
}

func failureOf(failed *exportv1.Failed, code codes.Code) *Error {
	failure := &Error{Code: code, Message: failed.GetMessage(), Reason: failed.GetReason()}
	if failed.GetKeptAs() != "" {
		failure.Metadata = map[string]string{"kept_as": failed.GetKeptAs()}
	}
	return failure
}
