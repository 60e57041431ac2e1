package taraexport

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// DownloadArtifact writes one file of a bundle to target, which appears only once size and digest were
// held against the manifest's; path is the path within the bundle's folder. A lost stream is taken up
// where it was.
func (client *Client) DownloadArtifact(
	ctx context.Context, name, path, target string,
) (artifact *exportv1.Artifact, err error) {
	err = writeFile(target, func(file io.Writer) error {
		artifact, err = client.WriteArtifact(ctx, name, path, file)
		return err
	})
	return artifact, err
}

// DownloadBundle writes a whole bundle as a ZIP file to target, which appears only once it is whole.
func (client *Client) DownloadBundle(
	ctx context.Context, name, target string,
) (archive *exportv1.BundleArchive, err error) {
	err = writeFile(target, func(file io.Writer) error {
		archive, err = client.WriteBundle(ctx, name, file)
		return err
	})
	return archive, err
}

// writeFile lets a file appear under its name once it is whole.
func writeFile(target string, write func(io.Writer) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	if err := write(file); err != nil {
		file.Close()
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return os.Rename(file.Name(), target)
}

// WriteArtifact writes one file of a bundle. With an error, what was written is not to be used.
func (client *Client) WriteArtifact(
	ctx context.Context, name, path string, writer io.Writer,
) (*exportv1.Artifact, error) {
	var artifact *exportv1.Artifact
	digest := sha256.New()
	received := int64(0)
	patience := newPatience(client.policy)
	for {
		request := &exportv1.DownloadArtifactRequest{Name: name, Path: path, Offset: received}
		open := func(ctx context.Context) (grpc.ServerStreamingClient[exportv1.DownloadArtifactResponse], error) {
			return client.service.DownloadArtifact(ctx, request)
		}
		err := readParts(ctx, client.policy, open, func(part *exportv1.DownloadArtifactResponse) error {
			if described := part.GetArtifact(); described != nil {
				if failure := checkArtifact(described, name, path); failure != nil {
					return failure
				}
				artifact = described
				return nil
			}
			patience.progressed()
			received += int64(len(part.GetData()))
			if received > artifact.GetSizeBytes() {
				return check(artifact, received, "")
			}
			digest.Write(part.GetData())
			_, err := writer.Write(part.GetData())
			return err
		})
		if err == nil {
			return artifact, check(artifact, received, hex.EncodeToString(digest.Sum(nil)))
		}
		failure, isCall := err.(*Error)
		if !isCall || !failure.isLost() {
			return nil, err
		}
		if err := patience.wait(ctx, path, failure); err != nil {
			return nil, err
		}
	}
}

func check(artifact *exportv1.Artifact, received int64, digest string) error {
	message := ""
	switch {
	case artifact == nil:
		return protocolError("a download without its description")
	case received != artifact.GetSizeBytes():
		message = fmt.Sprintf("%d bytes came instead of %d", received, artifact.GetSizeBytes())
	case digest != artifact.GetSha256():
		message = fmt.Sprintf("its SHA-256 is %s instead of %s", digest, artifact.GetSha256())
	default:
		return nil
	}
	message = fmt.Sprintf("%s arrived damaged: %s", artifact.GetPath(), message)
	return &Error{Code: codes.DataLoss, Reason: ReasonDamaged, Message: message}
}

// WriteBundle writes a whole bundle as a ZIP file; the server checks each file in it. A stream that is
// cut can't be taken up: with an error, what was written is not to be used.
func (client *Client) WriteBundle(
	ctx context.Context, name string, writer io.Writer,
) (archive *exportv1.BundleArchive, err error) {
	patience := newPatience(client.policy)
	request := &exportv1.DownloadBundleRequest{Name: name}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[exportv1.DownloadBundleResponse], error) {
		return client.service.DownloadBundle(ctx, request)
	}
	for {
		err := readParts(ctx, client.policy, open, func(part *exportv1.DownloadBundleResponse) error {
			if described := part.GetArchive(); described != nil {
				if failure := checkArchive(described, name); failure != nil {
					return failure
				}
				archive = described
				return nil
			}
			_, err := writer.Write(part.GetData())
			return err
		})
		if err == nil && archive == nil {
			err = protocolError("a bundle without its description")
		}
		if err == nil {
			return archive, nil
		}
		failure, isCall := err.(*Error)
		if archive != nil || !isCall || !failure.isLost() {
			return nil, err
		}
		if err := patience.wait(ctx, name, failure); err != nil {
			return nil, err
		}
	}
}

// readParts reads a stream to its end. Its errors are an *Error, or what take gave.
func readParts[Part any](
	ctx context.Context, policy Policy,
	open func(context.Context) (grpc.ServerStreamingClient[Part], error),
	take func(*Part) error,
) error {
	stream := newWatchedStream(ctx, open)
	defer stream.cancel()
	for {
		part, err := stream.next(policy.Silence)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errorFrom(ctx, err)
		}
		if err := take(part); err != nil {
			return err
		}
	}
}
