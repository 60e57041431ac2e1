package taraexport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Content is bytes of a known size that can be read repeatedly: an [os.File] through [io.NewSectionReader],
// a [bytes.Reader], a [strings.Reader].
type Content interface {
	io.ReaderAt
	Size() int64
}

// UploadProgress is the progress of the upload of a document.
type UploadProgress struct {
	// Kind is the kind of the document.
	Kind exportv1.Document_Kind
	// FileName is the file name of the document.
	FileName string
	// DoneBytes is the number of uploaded bytes.
	DoneBytes int64
	// SizeBytes is the size of the document.
	SizeBytes int64
}

// UploadedDocument is an uploaded document.
type UploadedDocument struct {
	// Name is uploads/{upload_id}, for [exportv1.Document].
	Name      string
	SizeBytes int64
	// SHA256 is the digest as 64 lower-case hexadecimal digits.
	SHA256 string
}

// UploadFile uploads a plain file, or the file to which a link leads; see [Client.Upload]. It fails for a folder,
// pipe, socket or device, and if the file changes its size.
func (client *Client) UploadFile(
	ctx context.Context, path string, onProgress func(doneBytes int64),
) (*UploadedDocument, error) {
	content, closeFile, err := openDocument(path)
	if err != nil {
		return nil, err
	}
	defer closeFile()
	return client.Upload(ctx, content, onProgress)
}

// Upload uploads a document before the request that names it. It resumes after a lost connection, even in
// another process: the same content is the same upload for as long as the server keeps it. It calls
// onProgress, unless that is nil, with the number of uploaded bytes.
func (client *Client) Upload(
	ctx context.Context, content Content, onProgress func(doneBytes int64),
) (*UploadedDocument, error) {
	if onProgress == nil {
		onProgress = func(int64) {}
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, io.NewSectionReader(content, 0, content.Size())); err != nil {
		return nil, err
	}
	sum := digest.Sum(nil)
	upload := &uploader{
		client: client, content: content, sha256: hex.EncodeToString(sum), onProgress: onProgress,
		requestID: requestIDOf(sum),
	}
	retryTimer := newRetryTimer(client.policy)
	maxCommitted := int64(0)
	hasNewToken := false
	for {
		// Before the attempt: another upload of this client can find the limit meanwhile.
		sentSmallChunks := client.sendsSmallChunks.Load()
		err := upload.attempt(ctx)
		if err == nil {
			return &UploadedDocument{upload.state.GetName(), content.Size(), upload.sha256}, nil
		}
		failure, isClientError := err.(*Error)
		if !isClientError {
			return nil, err
		}
		if upload.restartsWithNewID(failure) {
			continue
		}
		if failure.httpStatus == http.StatusRequestEntityTooLarge && !sentSmallChunks {
			client.sendsSmallChunks.Store(true)
			continue
		}
		if failure.Code == codes.Unauthenticated && failure.Reason != ReasonTokenUnavailable &&
			client.canRefreshToken && !hasNewToken {
			// The token expired after the stream of requests started. The next attempt requests another.
			hasNewToken = true
			continue
		}
		if !failure.isRetryable() && failure.Reason != "OVERLOADED" && failure.Reason != "UPLOAD_OFFSET_MISMATCH" {
			return nil, failure
		}
		if committed := upload.state.GetCommittedSizeBytes(); committed > maxCommitted {
			maxCommitted, hasNewToken = committed, false
			retryTimer.recordProgress()
		}
		if err := retryTimer.wait(ctx, "an upload", failure); err != nil {
			return nil, err
		}
	}
}

// requestIDOf derives a UUID from the content's digest (RFC 9562, version 8), so that another process can
// resume the upload.
func requestIDOf(digest []byte) string {
	id := uuid.UUID(digest[:16])
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x0f | 0x80
	return id.String()
}

// uploader is the upload of one document, with the state between attempts. It returns an *Error, or the
// error of reading the content.
type uploader struct {
	client      *Client
	content     Content
	sha256      string
	onProgress  func(int64)
	requestID   string
	state       *exportv1.Upload
	hasSecondID bool
}

// attempt uploads the remaining bytes.
func (upload *uploader) attempt(ctx context.Context) error {
	if err := upload.lookUp(ctx); err != nil {
		return err
	}
	upload.onProgress(upload.state.GetCommittedSizeBytes())
	if upload.state.GetSha256() == "" {
		send := upload.sendStream
		if upload.client.chunked || upload.client.sendsSmallChunks.Load() {
			send = upload.sendChunks
		}
		if err := send(ctx); err != nil {
			return err
		}
	}
	switch upload.state.GetSha256() {
	case upload.sha256:
		upload.onProgress(upload.content.Size())
		return nil
	case "":
		return connectionLost("the upload ended before the document")
	default:
		message := fmt.Sprintf("SHA-256 of the upload is %s instead of %s", upload.state.GetSha256(), upload.sha256)
		return &Error{Code: codes.DataLoss, Reason: ReasonDamaged, Message: message}
	}
}

// restartsWithNewID switches to a new upload, once, if the existing one can no longer be used. It reports
// whether it did.
func (upload *uploader) restartsWithNewID(failure *Error) bool {
	unusable := []string{"UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED"}
	if upload.hasSecondID || !slices.Contains(unusable, failure.Reason) {
		return false
	}
	upload.hasSecondID, upload.requestID, upload.state = true, uuid.NewString(), nil
	return true
}

func (upload *uploader) lookUp(ctx context.Context) error {
	service := upload.client.service
	if upload.state != nil {
		response, err := unary(ctx, service.GetUpload, &exportv1.GetUploadRequest{Name: upload.state.GetName()})
		return upload.update(response.GetUpload(), err)
	}
	response, err := unary(ctx, service.CreateUpload, &exportv1.CreateUploadRequest{
		RequestId: upload.requestID, SizeBytes: upload.content.Size(), Sha256: upload.sha256,
	})
	return upload.update(response.GetUpload(), err)
}

func (upload *uploader) update(state *exportv1.Upload, err error) error {
	if err != nil {
		return err
	}
	if state == nil {
		return protocolError("response without an upload")
	}
	if failure := checkUpload(state, upload.state.GetName(), upload.content.Size()); failure != nil {
		return failure
	}
	upload.state = state
	return nil
}
