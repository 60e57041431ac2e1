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

type lie struct {
	About, Method string
	Answers       []json.RawMessage
	Says          []string
}

type hostileFile struct {
	Export, Path, Document string
	Answers                []lie
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

// serveLies starts a server whose method gives these answers, and returns its URL.
func serveLies(t *testing.T, lie lie) string {
	t.Helper()
	method := exportv1.File_tara_export_v1_service_proto.Services().Get(0).Methods().ByName(protoreflect.Name(lie.Method))
	kind, err := protoregistry.GlobalTypes.FindMessageByName(method.Output().FullName())
	if err != nil {
		t.Fatal(err)
	}
	var answers []proto.Message
	for _, answer := range lie.Answers {
		message := kind.New().Interface()
		if err := protojson.Unmarshal(answer, message); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, message)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		called, _ := grpc.MethodFromServerStream(stream)
		if !strings.HasSuffix(called, "/"+lie.Method) {
			return status.Error(codes.Unimplemented, called)
		}
		for _, answer := range answers {
			if err := stream.SendMsg(answer); err != nil {
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

func TestLiesOfAServerAreRefused(t *testing.T) {
	file := readHostile(t)
	for _, lie := range file.Answers {
		t.Run(lie.Method+": "+lie.About, func(t *testing.T) {
			folder := t.TempDir()
			client := connect(t, serveLies(t, lie))
			err := file.call(t.Context(), client, lie.Method, filepath.Join(folder, "file"))
			if failure := (*taraexport.Error)(nil); !errors.As(err, &failure) {
				t.Fatalf("accepted: %v", err)
			}
			for _, text := range lie.Says {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("%q is missing in %q", text, err)
				}
			}
			if strings.ContainsFunc(err.Error(), unicode.IsControl) {
				t.Errorf("control characters in %q", err)
			}
			if files, _ := os.ReadDir(folder); len(files) > 0 {
				t.Errorf("left behind: %v", files)
			}
		})
	}
}

func TestALinkAtTheTargetIsReplacedAndNotFollowed(t *testing.T) {
	file, folder := readHostile(t), t.TempDir()
	outside, target := filepath.Join(folder, "outside"), filepath.Join(folder, "file")
	if err := os.Symlink(outside, target); err != nil {
		t.Fatal(err)
	}
	described := `{"artifact": {"path": "a.txt", "sizeBytes": 3, ` +
		`"sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}`
	honest := lie{Method: "DownloadArtifact", Answers: []json.RawMessage{
		json.RawMessage(described), json.RawMessage(`{"data": "YWJj"}`),
	}}
	client := connect(t, serveLies(t, honest))
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
