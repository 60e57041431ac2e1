package taraexport

import (
	"context"
	"errors"
	"io"
	"time"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Size of one message of a stream.
const pieceBytes = 1024 * 1024

// sendStream uploads in one stream, which is faster. The connection applies backpressure.
func (upload *uploader) sendStream(ctx context.Context) error {
	caller := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := upload.client.policy.ProgressTimeout
	stalled := time.AfterFunc(limit, cancel)
	defer stalled.Stop()
	response, readError, err := upload.stream(ctx, func() { stalled.Reset(limit) })
	switch {
	case readError != nil:
		return readError
	case err != nil && ctx.Err() != nil && caller.Err() == nil:
		return connectionLost("no progress of the upload within the timeout")
	case err != nil:
		return errorFrom(caller, err)
	}
	return upload.update(response.GetUpload(), nil)
}

func (upload *uploader) stream(
	ctx context.Context, onSend func(),
) (response *exportv1.UploadDocumentResponse, readError, err error) {
	stream, err := upload.client.service.UploadDocument(ctx)
	if err != nil {
		return nil, nil, err
	}
	start, size := upload.state.GetCommittedSizeBytes(), upload.content.Size()
	for isFinished := false; !isFinished; {
		// If all bytes are already committed, the only message is empty and finishes the upload.
		end := min(start+pieceBytes, size)
		data, readError := readPiece(upload.content, start, end)
		if readError != nil {
			return nil, readError, nil
		}
		isFinished = end == size
		message := &exportv1.UploadDocumentRequest{
			Name: upload.state.GetName(), Offset: start, Data: data, Finish: isFinished,
		}
		// io.EOF: the call ended, and CloseAndRecv returns the error.
		if err := stream.Send(message); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, nil, err
		}
		onSend()
		start = end
		upload.onProgress(start)
	}
	response, err = stream.CloseAndRecv()
	return response, nil, err
}

// chunkBytes returns the size of the next chunks.
func (upload *uploader) chunkBytes() int64 {
	smallest, largest := upload.state.GetMinChunkSizeBytes(), upload.state.GetChunkSizeBytes()
	if upload.client.sendsSmallChunks.Load() && smallest > 0 && smallest <= largest {
		return int64(smallest)
	}
	return int64(largest)
}

// sendChunks uploads in chunks, for gRPC-Web and for proxies that limit the size of requests.
func (upload *uploader) sendChunks(ctx context.Context) error {
	size := upload.content.Size()
	for upload.state.GetSha256() == "" {
		start := upload.state.GetCommittedSizeBytes()
		end := min(start+upload.chunkBytes(), size)
		data, err := readPiece(upload.content, start, end)
		if err != nil {
			return err
		}
		chunk := &exportv1.UploadChunkRequest{
			Name: upload.state.GetName(), Offset: start, Data: data, Finish: end == size,
		}
		limit := upload.client.policy.Deadline + sendingTime(len(data))
		limited, cancel := context.WithTimeout(ctx, limit)
		response, err := upload.client.service.UploadChunk(limited, chunk)
		cancel()
		if err != nil {
			if limited.Err() != nil && ctx.Err() == nil {
				return connectionLost("no response to a chunk within the timeout")
			}
			return errorFrom(ctx, err)
		}
		if err := upload.update(response.GetUpload(), nil); err != nil {
			return err
		}
		if upload.state.GetCommittedSizeBytes() <= start && upload.state.GetSha256() == "" {
			return connectionLost("a chunk made no progress")
		}
		upload.onProgress(upload.state.GetCommittedSizeBytes())
	}
	return nil
}

func readPiece(content io.ReaderAt, start, end int64) ([]byte, error) {
	piece := make([]byte, end-start)
	if read, err := content.ReadAt(piece, start); read < len(piece) {
		if errors.Is(err, io.EOF) {
			// The content was truncated during the upload.
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return piece, nil
}
