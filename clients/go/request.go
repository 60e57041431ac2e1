package taraexport

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Larger documents are uploaded before the request. Three such documents and a review fit into the
// servers' default limit.
const maxInlineBytes = 8 * 1024 * 1024

// attachment is a document that is not in the request yet: a file, or content with a file name.
type attachment struct {
	kind     exportv1.Document_Kind
	path     string
	fileName string
	content  Content
}

// prepare builds the request message, and uploads documents that are too large for it.
func (client *Client) prepare(
	ctx context.Context, request *exportv1.StartExportRequest, config exportSettings,
) (*exportv1.StartExportRequest, error) {
	prepared := &exportv1.StartExportRequest{
		RequestId: request.GetRequestId(), Review: SendableReview(request.GetReview()),
		Destination: request.GetDestination(), Fallback: request.GetFallback(),
		NotifyEmails: request.GetNotifyEmails(),
	}
	for _, given := range request.GetDocuments() {
		document, err := client.prepareDocument(ctx, given, config.onUpdate)
		if err != nil {
			return nil, err
		}
		prepared.Documents = append(prepared.Documents, document)
	}
	for _, given := range config.attached {
		document, err := client.prepareAttachment(ctx, given, config.onUpdate)
		if err != nil {
			return nil, err
		}
		prepared.Documents = append(prepared.Documents, document)
	}
	replaceFileNames(prepared)
	if size := proto.Size(prepared); size > maxMessageBytes {
		message := fmt.Sprintf("the request has %d bytes; at most %d can be sent", size, maxMessageBytes)
		return nil, &Error{Code: codes.ResourceExhausted, Reason: ReasonRequestTooLarge, Message: message}
	}
	return prepared, nil
}

func (client *Client) prepareDocument(
	ctx context.Context, given *exportv1.Document, onUpdate func(Update),
) (*exportv1.Document, error) {
	if len(given.GetContent()) <= maxInlineBytes {
		return given, nil
	}
	document := &exportv1.Document{
		Kind: given.GetKind(), FileName: given.GetFileName(), MediaType: given.GetMediaType(), Sha256: given.GetSha256(),
	}
	return client.prepareContent(ctx, document, bytes.NewReader(given.GetContent()), onUpdate)
}

func (client *Client) prepareAttachment(
	ctx context.Context, given attachment, onUpdate func(Update),
) (*exportv1.Document, error) {
	document := &exportv1.Document{Kind: given.kind, FileName: given.fileName}
	if given.content != nil {
		return client.prepareContent(ctx, document, given.content, onUpdate)
	}
	content, closeFile, err := openDocument(given.path)
	if err != nil {
		return nil, err
	}
	defer closeFile()
	document.FileName = filepath.Base(given.path)
	return client.prepareContent(ctx, document, content, onUpdate)
}

func (client *Client) prepareContent(
	ctx context.Context, document *exportv1.Document, content Content, onUpdate func(Update),
) (*exportv1.Document, error) {
	if content.Size() <= maxInlineBytes {
		inline, err := readPiece(content, 0, content.Size())
		if err != nil {
			return nil, err
		}
		document.Source = &exportv1.Document_Content{Content: inline}
		return document, nil
	}
	uploaded, err := client.Upload(ctx, content, func(doneBytes int64) {
		onUpdate(Update{Upload: &UploadProgress{
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
