// Export-review exports a review from a file in proto3 JSON, prints the progress, and reads the report:
//
//	go run ./examples/export-review http://127.0.0.1:8080 ../../examples/request.json [DOCUMENT]
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: export-review SERVER REQUEST [DOCUMENT]")
		os.Exit(2)
	}
	err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3:])
	if failure := (*taraexport.Error)(nil); errors.As(err, &failure) {
		fmt.Fprintln(os.Stderr, failure.Code, taraexport.Printable(failure.Reason+" "+failure.Message))
		for _, violation := range failure.FieldViolations {
			fmt.Fprintln(os.Stderr, " ", taraexport.Printable(violation.Field+": "+violation.Description))
		}
	} else if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, server, requestPath string, documents []string) error {
	var connectOptions []taraexport.Option
	if os.Getenv("TARA_EXPORT_PROTOCOL") == "grpc-web" {
		connectOptions = append(connectOptions, taraexport.WithGRPCWeb(nil))
	}
	client, err := taraexport.Connect(server, connectOptions...)
	if err != nil {
		return err
	}
	defer client.Close()

	content, err := os.ReadFile(requestPath)
	if err != nil {
		return err
	}
	request := &exportv1.StartExportRequest{}
	if err := protojson.Unmarshal(content, request); err != nil {
		return err
	}
	// A new id creates a new bundle.
	request.RequestId = uuid.NewString()
	options := []taraexport.ExportOption{taraexport.OnUpdate(show)}
	for _, document := range documents {
		options = append(options, taraexport.AttachFile(exportv1.Document_KIND_GUIDELINES, document))
	}
	result, err := client.Export(ctx, request, options...)
	if err != nil {
		return err
	}
	location := taraexport.Printable(result.Location)
	fmt.Printf("%s: %d files, %d bytes in %s\n", result.Name, result.ArtifactCount, result.SizeBytes, location)

	report, err := client.GetReport(ctx, result.Name, exportv1.GetReportRequest_VIEW_TEXT)
	if err != nil {
		return err
	}
	lines := strings.Split(report.GetText(), "\n")
	for _, line := range lines[:min(len(lines), 6)] {
		fmt.Println(taraexport.Printable(line))
	}
	return nil
}

func show(update taraexport.Update) {
	if upload := update.Upload; upload != nil {
		fmt.Printf("uploading %s: %d of %d bytes\n", upload.FileName, upload.DoneBytes, upload.SizeBytes)
		return
	}
	if stored := update.Event.GetArtifactStored(); stored != nil {
		progress := update.Event.GetProgress()
		path := taraexport.Printable(stored.GetPath())
		fmt.Printf("stored %s (%d of %d)\n", path, progress.GetArtifactsDone(), progress.GetArtifactsTotal())
	} else if fellBack := update.Event.GetFellBack(); fellBack != nil {
		fmt.Println("S3 could not store the bundle:", taraexport.Printable(fellBack.GetMessage()))
	}
}
