// Command plainhttp calls a server over the Connect protocol with connect-go as it comes:
//
//	plainhttp URL EXPORT
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"connectrpc.com/connect"

	v1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

const service = "/tara.export.v1.ExportService/"

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: plainhttp URL EXPORT")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, isJSON := range []bool{false, true} {
		for _, isHTTP2 := range []bool{false, true} {
			if err := check(ctx, os.Args[1]+service, os.Args[2], isJSON, isHTTP2); err != nil {
				log.Fatalf("JSON %v, HTTP/2 %v: %v", isJSON, isHTTP2, err)
			}
		}
	}
	fmt.Println("connect-go: unary, GET, streams and errors work over HTTP/1.1 and HTTP/2")
}

func check(ctx context.Context, base, name string, isJSON, isHTTP2 bool) error {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!isHTTP2)
	transport.Protocols.SetUnencryptedHTTP2(isHTTP2)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	// As in generated code, whose clients know which methods only read.
	reads := connect.WithIdempotency(connect.IdempotencyNoSideEffects)
	options := []connect.ClientOption{connect.WithHTTPGet(), reads}
	if isJSON {
		options = append(options, connect.WithProtoJSON())
	}

	get := connect.NewClient[v1.GetExportRequest, v1.GetExportResponse](client, base+"GetExport", options...)
	read, err := get.CallUnary(ctx, connect.NewRequest(&v1.GetExportRequest{Name: name}))
	if err != nil {
		return fmt.Errorf("GetExport: %w", err)
	}
	if read.Msg.GetExport().GetName() != name {
		return fmt.Errorf("GetExport: %v", read.Msg)
	}
	_, err = get.CallUnary(ctx, connect.NewRequest(&v1.GetExportRequest{Name: "exports/00000000-0000-4000-8000-000000000000"}))
	var connectError *connect.Error
	if !errors.As(err, &connectError) || connectError.Code() != connect.CodeNotFound || len(connectError.Details()) != 1 {
		return fmt.Errorf("GetExport of an unknown export: %v", err)
	}

	watch := connect.NewClient[v1.WatchExportRequest, v1.ExportEvent](client, base+"WatchExport", options...)
	stream, err := watch.CallServerStream(ctx, connect.NewRequest(&v1.WatchExportRequest{Name: name}))
	if err != nil {
		return fmt.Errorf("WatchExport: %w", err)
	}
	isCompleted := false
	for stream.Receive() {
		isCompleted = stream.Msg().GetCompleted() != nil
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil || !isCompleted {
		return fmt.Errorf("WatchExport: completed %v, %w", isCompleted, err)
	}

	return upload(ctx, client, base, isJSON)
}

// upload sends a document in a stream of requests, with gzip.
func upload(ctx context.Context, client *http.Client, base string, isJSON bool) error {
	options := []connect.ClientOption{connect.WithSendGzip()}
	if isJSON {
		options = append(options, connect.WithProtoJSON())
	}
	content := bytes.Repeat([]byte("as it was "), 100_000)
	create := connect.NewClient[v1.CreateUploadRequest, v1.CreateUploadResponse](client, base+"CreateUpload", options...)
	created, err := create.CallUnary(ctx, connect.NewRequest(&v1.CreateUploadRequest{SizeBytes: int64(len(content))}))
	if err != nil {
		return fmt.Errorf("CreateUpload: %w", err)
	}
	send := connect.NewClient[v1.UploadDocumentRequest, v1.UploadDocumentResponse](client, base+"UploadDocument", options...)
	stream := send.CallClientStream(ctx)
	half := len(content) / 2
	for _, message := range []*v1.UploadDocumentRequest{
		{Name: created.Msg.GetUpload().GetName(), Data: content[:half]},
		{Offset: int64(half), Data: content[half:], Finish: true},
	} {
		if err := stream.Send(message); err != nil {
			return fmt.Errorf("UploadDocument: %w", err)
		}
	}
	finished, err := stream.CloseAndReceive()
	if err != nil {
		return fmt.Errorf("UploadDocument: %w", err)
	}
	if finished.Msg.GetUpload().GetCommittedSizeBytes() != int64(len(content)) {
		return fmt.Errorf("UploadDocument: %v", finished.Msg)
	}
	return nil
}
