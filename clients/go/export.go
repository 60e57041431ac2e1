package taraexport

import (
	"context"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Result is a complete bundle.
type Result struct {
	// Name is exports/{export_id}.
	Name string
	// Location is s3://bucket/base/folder/, or a path on the server's disk.
	Location string
	// FolderName is the name of the bundle's folder.
	FolderName string
	// StoredIn is the store that contains the bundle now.
	StoredIn exportv1.Destination
	// FellBack reports whether the bundle fell back to the server's disk because S3 failed. The server
	// syncs it to S3 later.
	FellBack bool
	// ArtifactCount is the number of artifacts without the manifest.
	ArtifactCount int
	// SizeBytes is the total size of all artifacts.
	SizeBytes int64
	// ManifestSHA256 is the digest of manifest.json. Keep it to prove later that the bundle is unchanged.
	ManifestSHA256 string
	// Export is the complete message of the server, with the artifacts.
	Export *exportv1.Export
}

// Update is an update about an export. Exactly one field is set.
type Update struct {
	// Upload is the progress of a large document that is uploaded before the request.
	Upload *UploadProgress
	// Event is an event from the server.
	Event *exportv1.ExportEvent
}

// ExportOption configures an export.
type ExportOption func(*exportSettings)

type exportSettings struct {
	onUpdate func(Update)
	attached []attachment
}

// OnUpdate calls a function with each update of the export, in order, on the goroutine that exports.
func OnUpdate(onUpdate func(Update)) ExportOption {
	return func(config *exportSettings) { config.onUpdate = onUpdate }
}

// AttachFile adds a file of any size as a document.
func AttachFile(kind exportv1.Document_Kind, path string) ExportOption {
	return func(config *exportSettings) {
		config.attached = append(config.attached, attachment{kind: kind, path: path})
	}
}

// Attach adds content of any size as a document.
func Attach(kind exportv1.Document_Kind, fileName string, content Content) ExportOption {
	return func(config *exportSettings) {
		config.attached = append(config.attached, attachment{kind: kind, fileName: fileName, content: content})
	}
}

// Export exports a review, follows the export until it ends, and returns the bundle, even if it fell back
// to the server's disk. Large documents are uploaded automatically before the request.
//
// The request id is generated if it is empty; the same id never creates a second bundle. Export reconnects
// after lost connections and server restarts, and reports no event of a run twice.
//
// It waits for as long as the server reports progress; limit the time with the context. An accepted export
// continues after the context ends.
func (client *Client) Export(
	ctx context.Context, request *exportv1.StartExportRequest, options ...ExportOption,
) (*Result, error) {
	config := newExportSettings(options)
	prepared, err := client.prepare(ctx, request, config)
	if err != nil {
		return nil, err
	}
	if prepared.RequestId == "" {
		prepared.RequestId = uuid.NewString()
	}
	return client.follow("exports/"+prepared.RequestId, prepared).run(ctx, config.onUpdate)
}

// Watch follows an export that was started earlier by any process until it ends; name is
// exports/{export_id}. Only the option [OnUpdate] has an effect.
func (client *Client) Watch(ctx context.Context, name string, options ...ExportOption) (*Result, error) {
	return client.follow(name, nil).run(ctx, newExportSettings(options).onUpdate)
}

func newExportSettings(options []ExportOption) exportSettings {
	config := exportSettings{onUpdate: func(Update) {}}
	for _, option := range options {
		option(&config)
	}
	return config
}

func (follower *follower) run(ctx context.Context, onUpdate func(Update)) (*Result, error) {
	defer follower.close()
	for {
		event, err := follower.next(ctx)
		if err != nil {
			return nil, err
		}
		onUpdate(Update{Event: event})
		if completed := event.GetCompleted(); completed != nil {
			return resultOf(completed.GetExport()), nil
		}
		if failed := event.GetFailed(); failed != nil {
			return nil, failureOf(failed, follower.finalCode(ctx))
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
	if failed.GetStoredUnder() != "" {
		failure.Metadata = map[string]string{"stored_under": failed.GetStoredUnder()}
	}
	return failure
}
