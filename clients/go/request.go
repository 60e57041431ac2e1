package taraexport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// What is larger is uploaded before the request: three documents and a review fit into what servers
// take by default.
const largestInlineBytes = 8 * 1024 * 1024

// attachment is a document that is not in the request yet: a file, or content under a name.
type attachment struct {
	kind     exportv1.Document_Kind
	path     string
	fileName string
	content  Content
}

// prepare makes the message that is sent, and uploads what is too large for it.
func (client *Client) prepare(
	ctx context.Context, request *exportv1.StartExportRequest, set exportSettings,
) (*exportv1.StartExportRequest, error) {
	if err := refuseRounded(request.GetReview()); err != nil {
		return nil, err
	}
	prepared := &exportv1.StartExportRequest{
		RequestId: request.GetRequestId(), Review: request.GetReview(),
		Destination: request.GetDestination(), Fallback: request.GetFallback(),
	}
	for _, given := range request.GetDocuments() {
		document, err := client.prepareDocument(ctx, given, set.onUpdate)
		if err != nil {
			return nil, err
		}
		prepared.Documents = append(prepared.Documents, document)
	}
	for _, given := range set.attached {
		document, err := client.prepareAttachment(ctx, given, set.onUpdate)
		if err != nil {
			return nil, err
		}
		prepared.Documents = append(prepared.Documents, document)
	}
	if size := proto.Size(prepared); size > maxMessageBytes {
		message := fmt.Sprintf("the request has %d bytes; at most %d can be sent", size, maxMessageBytes)
		return nil, &Error{Code: codes.ResourceExhausted, Reason: ReasonRequestTooLarge, Message: message}
	}
	return prepared, nil
}

func (client *Client) prepareDocument(
	ctx context.Context, given *exportv1.Document, tell func(Update),
) (*exportv1.Document, error) {
	if len(given.GetContent()) <= largestInlineBytes {
		return given, nil
	}
	document := &exportv1.Document{
		Kind: given.GetKind(), FileName: given.GetFileName(), MediaType: given.GetMediaType(), Sha256: given.GetSha256(),
	}
	return client.prepareContent(ctx, document, bytes.NewReader(given.GetContent()), tell)
}

func (client *Client) prepareAttachment(
	ctx context.Context, given attachment, tell func(Update),
) (*exportv1.Document, error) {
	document := &exportv1.Document{Kind: given.kind, FileName: given.fileName}
	if given.content != nil {
		return client.prepareContent(ctx, document, given.content, tell)
	}
	file, err := os.Open(given.path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := fileContent(file)
	if err != nil {
		return nil, err
	}
	document.FileName = filepath.Base(given.path)
	return client.prepareContent(ctx, document, content, tell)
}

func fileContent(file *os.File) (Content, error) {
	facts, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return io.NewSectionReader(file, 0, facts.Size()), nil
}

func (client *Client) prepareContent(
	ctx context.Context, document *exportv1.Document, content Content, tell func(Update),
) (*exportv1.Document, error) {
	if content.Size() <= largestInlineBytes {
		inline, err := readPiece(content, 0, content.Size())
		if err != nil {
			return nil, err
		}
		document.Source = &exportv1.Document_Content{Content: inline}
		return document, nil
	}
	uploaded, err := client.Upload(ctx, content, func(doneBytes int64) {
		tell(Update{Upload: &UploadProgress{
			Kind: document.GetKind(), FileName: document.GetFileName(),
			DoneBytes: doneBytes, SizeBytes: content.Size(),
		}})
	})
	if err != nil {
		return nil, err
	}
	document.Source = &exportv1.Document_Upload{Upload: uploaded.Name}
	if document.Sha256 == "" {
		document.Sha256 = uploaded.SHA256
	}
	return document, nil
}
