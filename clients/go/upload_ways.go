package taraexport

import (
	"context"
	"errors"
	"io"
	"time"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Bytes of one message of a stream.
const pieceBytes = 1024 * 1024

// sendStream is the fast way: one stream. The connection takes a piece when it has room for it.
func (upload *uploader) sendStream(ctx context.Context) error {
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := upload.client.policy.Patience
	stalled := time.AfterFunc(limit, cancel)
	defer stalled.Stop()
	answer, readError, err := upload.stream(ctx, func() { stalled.Reset(limit) })
	switch {
	case readError != nil:
		return readError
	case err != nil && ctx.Err() != nil && caller.Err() == nil:
		return lost("the upload makes no headway")
	case err != nil:
		return errorFrom(caller, err)
	}
	return upload.learn(answer.GetUpload(), nil)
}

func (upload *uploader) stream(
	ctx context.Context, moved func(),
) (answer *exportv1.UploadDocumentResponse, readError, err error) {
	stream, err := upload.client.service.UploadDocument(ctx)
	if err != nil {
		return nil, nil, err
	}
	start, size := upload.known.GetCommittedSizeBytes(), upload.content.Size()
	for isFinished := false; !isFinished; {
		// Of a document that is there already only the end is said.
		end := min(start+pieceBytes, size)
		data, readError := readPiece(upload.content, start, end)
		if readError != nil {
			return nil, readError, nil
		}
		isFinished = end == size
		message := &exportv1.UploadDocumentRequest{
			Name: upload.known.GetName(), Offset: start, Data: data, Finish: isFinished,
		}
		// io.EOF: the call ended, and CloseAndRecv says why.
		if err := stream.Send(message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		moved()
		start = end
		upload.tell(start)
	}
	answer, err = stream.CloseAndRecv()
	return answer, nil, err
}

// sendChunks is the way of gRPC-Web: one chunk after the other.
func (upload *uploader) sendChunks(ctx context.Context) error {
	size := upload.content.Size()
	for upload.known.GetSha256() == "" {
		start := upload.known.GetCommittedSizeBytes()
		end := min(start+int64(upload.known.GetChunkSizeBytes()), size)
		data, err := readPiece(upload.content, start, end)
		if err != nil {
			return err
		}
		chunk := &exportv1.UploadChunkRequest{
			Name: upload.known.GetName(), Offset: start, Data: data, Finish: end == size,
		}
		limit := upload.client.policy.Deadline + sendingTime(len(data))
		limited, cancel := context.WithTimeout(ctx, limit)
		answer, err := upload.client.service.UploadChunk(limited, chunk)
		cancel()
		if err != nil {
			if limited.Err() != nil && ctx.Err() == nil {
				return lost("a chunk took too long")
			}
			return errorFrom(ctx, err)
		}
		if err := upload.learn(answer.GetUpload(), nil); err != nil {
			return err
		}
		if upload.known.GetCommittedSizeBytes() <= start && upload.known.GetSha256() == "" {
			return lost("a chunk brought no headway")
		}
		upload.tell(upload.known.GetCommittedSizeBytes())
	}
	return nil
}

func readPiece(content io.ReaderAt, start, end int64) ([]byte, error) {
	piece := make([]byte, end-start)
	if read, err := content.ReadAt(piece, start); read < len(piece) {
		if errors.Is(err, io.EOF) {
			// It became shorter while it was sent.
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return piece, nil
}
