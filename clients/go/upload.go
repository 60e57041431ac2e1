package taraexport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Content is bytes of a known size that can be read again: an [os.File] through [io.NewSectionReader],
// a [bytes.Reader], a [strings.Reader].
type Content interface {
	io.ReaderAt
	Size() int64
}

// UploadProgress tells how far a document is on its way.
type UploadProgress struct {
	// Kind says which document.
	Kind exportv1.Document_Kind
	// FileName is its name.
	FileName string
	// DoneBytes is how many bytes are there.
	DoneBytes int64
	// SizeBytes is how many there will be.
	SizeBytes int64
}

// UploadedDocument is a document that is at the server.
type UploadedDocument struct {
	// Name is uploads/{upload_id}, for [exportv1.Document].
	Name string
	// SizeBytes is its size in bytes.
	SizeBytes int64
	// SHA256 has 64 lower-case hexadecimal digits.
	SHA256 string
}

// UploadFile is [Client.Upload] of a file.
func (client *Client) UploadFile(
	ctx context.Context, path string, tell func(doneBytes int64),
) (*UploadedDocument, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := fileContent(file)
	if err != nil {
		return nil, err
	}
	return client.Upload(ctx, content, tell)
}

// Upload sends a document ahead of the request that names it, and goes on where a lost connection left
// off, also that of an earlier process: the same content is the same upload as long as the server
// keeps it. tell, if not nil, is told how many bytes are there.
func (client *Client) Upload(
	ctx context.Context, content Content, tell func(doneBytes int64),
) (*UploadedDocument, error) {
	if tell == nil {
		tell = func(int64) {}
	}
	digest := sha256.New()
	if _, err := io.Copy(digest, io.NewSectionReader(content, 0, content.Size())); err != nil {
		return nil, err
	}
	upload := &uploader{
		client: client, content: content, sha256: hex.EncodeToString(digest.Sum(nil)), tell: tell,
		requestID: uuid.NewString(),
	}
	patience := newPatience(client.policy)
	furthest := int64(0)
	for {
		err := upload.attempt(ctx)
		if err == nil {
			return &UploadedDocument{upload.known.GetName(), content.Size(), upload.sha256}, nil
		}
		failure, isCall := err.(*Error)
		if !isCall {
			return nil, err
		}
		if upload.beganAnew(failure) {
			continue
		}
		if !failure.isLost() && failure.Reason != "OVERLOADED" && failure.Reason != "UPLOAD_OFFSET" {
			return nil, failure
		}
		if committed := upload.known.GetCommittedSizeBytes(); committed > furthest {
			furthest = committed
			patience.progressed()
		}
		if err := patience.wait(ctx, "an upload", failure); err != nil {
			return nil, err
		}
	}
}

// uploader is one document's way to the server, and what is known of it between attempts. Its errors
// are an *Error, or what reading the content gave.
type uploader struct {
	client      *Client
	content     Content
	sha256      string
	tell        func(int64)
	requestID   string
	known       *exportv1.Upload
	hasSecondID bool
}

// attempt brings the rest.
func (upload *uploader) attempt(ctx context.Context) error {
	if err := upload.find(ctx); err != nil {
		return err
	}
	upload.tell(upload.known.GetCommittedSizeBytes())
	if upload.known.GetSha256() == "" {
		send := upload.sendStream
		if upload.client.chunked {
			send = upload.sendChunks
		}
		if err := send(ctx); err != nil {
			return err
		}
	}
	switch upload.known.GetSha256() {
	case upload.sha256:
		upload.tell(upload.content.Size())
		return nil
	case "":
		return lost("the upload ended before the document did")
	default:
		message := fmt.Sprintf("the server has %s, and the document is %s", upload.known.GetSha256(), upload.sha256)
		return &Error{Code: codes.DataLoss, Reason: ReasonDamaged, Message: message}
	}
}

// beganAnew takes another upload where this one was given up or is too old; once.
func (upload *uploader) beganAnew(failure *Error) bool {
	givenUp := []string{"UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED"}
	if upload.hasSecondID || !slices.Contains(givenUp, failure.Reason) {
		return false
	}
	upload.hasSecondID, upload.requestID, upload.known = true, uuid.NewString(), nil
	return true
}

func (upload *uploader) find(ctx context.Context) error {
	service := upload.client.service
	if upload.known != nil {
		answer, err := answered(ctx, service.GetUpload, &exportv1.GetUploadRequest{Name: upload.known.GetName()})
		return upload.learn(answer.GetUpload(), err)
	}
	answer, err := answered(ctx, service.CreateUpload, &exportv1.CreateUploadRequest{
		RequestId: upload.requestID, SizeBytes: upload.content.Size(), Sha256: upload.sha256,
	})
	return upload.learn(answer.GetUpload(), err)
}

func (upload *uploader) learn(known *exportv1.Upload, err error) error {
	if err != nil {
		return err
	}
	if known == nil {
		return protocolError("an answer without an upload")
	}
	if failure := checkUpload(known, upload.known.GetName(), upload.content.Size()); failure != nil {
		return failure
	}
	upload.known = known
	return nil
}
