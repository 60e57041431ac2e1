package taraexport_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

type hostileResponse struct {
	About, Method string
	Responses     []json.RawMessage
	ErrorContains []string `json:"error_contains"`
}

type hostileFile struct {
	Export, Path, Document string
	Cases                  []hostileResponse
	HTTP                   []httpRow
	Connections            []connectionRow
}

func readHostile(t *testing.T) (file hostileFile) {
	t.Helper()
	content, err := os.ReadFile("../hostile-server.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	return file
}

// serveHostile starts a server whose method sends these messages, and returns its URL.
func serveHostile(t *testing.T, row hostileResponse) string {
	t.Helper()
	name := protoreflect.Name(row.Method)
	method := exportv1.File_tara_export_v1_service_proto.Services().Get(0).Methods().ByName(name)
	if method == nil {
		method = exportv1.File_tara_export_v1_automation_proto.Services().Get(0).Methods().ByName(name)
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	var messages []proto.Message
	for _, response := range row.Responses {
		message := kind.New().Interface()
		if err := protojson.Unmarshal(response, message); err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		called, _ := grpc.MethodFromServerStream(stream)
		if !strings.HasSuffix(called, "/"+row.Method) {
			return status.Error(codes.Unimplemented, called)
		}
		for _, message := range messages {
			if err := stream.SendMsg(message); err != nil {
				return err
			}
		}
		return nil
	}))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "http://" + listener.Addr().String()
}

func (file hostileFile) call(ctx context.Context, client *taraexport.Client, method, target string) error {
	var err error
	switch method {
	case "GetExport":
		_, err = client.GetExport(ctx, file.Export)
	case "ListExports":
		for _, err = range client.ListExports(ctx, nil) {
		}
	case "ListEvents":
		for _, err = range client.ListEvents(ctx, nil) {
		}
	case "WatchExport":
		_, err = client.Watch(ctx, file.Export)
	case "DownloadArtifact":
		_, err = client.DownloadArtifact(ctx, file.Export, file.Path, target)
	case "DownloadBundle":
		_, err = client.DownloadBundle(ctx, file.Export, target)
	case "CreateDownloadLink":
		request := &exportv1.CreateDownloadLinkRequest{Name: file.Export, Path: file.Path}
		_, err = client.CreateDownloadLink(ctx, request)
	case "CreateUpload":
		_, err = client.Upload(ctx, strings.NewReader(file.Document), nil)
	}
	return err
}

func TestHostileResponsesAreRejected(t *testing.T) {
	file := readHostile(t)
	for _, row := range file.Cases {
		t.Run(row.Method+": "+row.About, func(t *testing.T) {
			folder := t.TempDir()
			client := connect(t, serveHostile(t, row))
			err := file.call(t.Context(), client, row.Method, filepath.Join(folder, "file"))
			if failure := (*taraexport.Error)(nil); !errors.As(err, &failure) {
				t.Fatalf("accepted: %v", err)
			}
			for _, text := range row.ErrorContains {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is missing in %q", text, err)
				}
			}
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("control characters in %q", err)
			}
			if files, _ := os.ReadDir(folder); len(files) > 0 {
				t.Errorf("unexpected files: %v", files)
			}
		})
	}
}

func TestLinkAtTheTargetIsReplacedNotFollowed(t *testing.T) {
	file, folder := readHostile(t), t.TempDir()
	outside, target := filepath.Join(folder, "outside"), filepath.Join(folder, "file")
	if err := os.Symlink(outside, target); err != nil {
		t.Fatal(err)
	}
	metadata := `{"artifact": {"path": "a.txt", "sizeBytes": 3, ` +
		`"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}`
	valid := hostileResponse{Method: "DownloadArtifact", Responses: []json.RawMessage{
		json.RawMessage(metadata), json.RawMessage(`{"data": "YWJj"}`),
	}}
	client := connect(t, serveHostile(t, valid))
	if _, err := client.DownloadArtifact(t.Context(), file.Export, file.Path, target); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(target); err != nil || string(content) != "abc" {
		t.Errorf("%q, %v", content, err)
	}
	if _, err := os.Lstat(outside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("written through the link: %v", err)
	}
}
