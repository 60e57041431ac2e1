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

// DownloadArtifact downloads one file of a bundle to target, which is created only after size and digest
// were verified against the manifest; path is relative to the bundle's folder. An interrupted stream is
// resumed.
func (client *Client) DownloadArtifact(
	ctx context.Context, name, path, target string,
) (artifact *exportv1.Artifact, err error) {
	err = writeFile(target, func(file io.Writer) error {
		artifact, err = client.WriteArtifact(ctx, name, path, file)
		return err
	})
	return artifact, err
}

// DownloadBundle downloads a complete bundle as a ZIP file to target, which is created only after the
// download is complete.
func (client *Client) DownloadBundle(
	ctx context.Context, name, target string,
) (archive *exportv1.BundleArchive, err error) {
	err = writeFile(target, func(file io.Writer) error {
		archive, err = client.WriteBundle(ctx, name, file)
		return err
	})
	return archive, err
}

// writeFile writes to a temporary file, which it renames to target if write succeeds.
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

// WriteArtifact writes one file of a bundle. Do not use the written bytes after an error.
func (client *Client) WriteArtifact(
	ctx context.Context, name, path string, writer io.Writer,
) (*exportv1.Artifact, error) {
	var artifact *exportv1.Artifact
	digest := sha256.New()
	received := int64(0)
	retryTimer := newRetryTimer(client.policy)
	for {
		request := &exportv1.DownloadArtifactRequest{Name: name, Path: path, Offset: received}
		open := func(ctx context.Context) (grpc.ServerStreamingClient[exportv1.DownloadArtifactResponse], error) {
			return client.service.DownloadArtifact(ctx, request)
		}
		err := readParts(ctx, client.policy, open, func(part *exportv1.DownloadArtifactResponse) error {
			if metadata := part.GetArtifact(); metadata != nil {
				if failure := checkArtifact(metadata, name, path); failure != nil {
					return failure
				}
				artifact = metadata
				return nil
			}
			retryTimer.recordProgress()
			received += int64(len(part.GetData()))
			if received > artifact.GetSizeBytes() {
				return verify(artifact, received, "")
			}
			digest.Write(part.GetData())
			_, err := writer.Write(part.GetData())
			return err
		})
		if err == nil {
			return artifact, verify(artifact, received, hex.EncodeToString(digest.Sum(nil)))
		}
		failure, isClientError := err.(*Error)
		if !isClientError || !failure.isRetryable() {
			return nil, err
		}
		if err := retryTimer.wait(ctx, path, failure); err != nil {
			return nil, err
		}
	}
}

func verify(artifact *exportv1.Artifact, received int64, digest string) error {
	message := ""
	switch {
	case artifact == nil:
		return protocolError("download without its metadata")
	case received != artifact.GetSizeBytes():
		message = fmt.Sprintf("received %d bytes instead of %d", received, artifact.GetSizeBytes())
	case digest != artifact.GetSha256():
		message = fmt.Sprintf("SHA-256 is %s instead of %s", digest, artifact.GetSha256())
	default:
		return nil
	}
	message = fmt.Sprintf("%s is damaged: %s", artifact.GetPath(), message)
	return &Error{Code: codes.DataLoss, Reason: ReasonDamaged, Message: message}
}

// WriteBundle writes a complete bundle as a ZIP file; the server verifies each file in it. An interrupted
// download cannot be resumed. Do not use the written bytes after an error.
func (client *Client) WriteBundle(
	ctx context.Context, name string, writer io.Writer,
) (archive *exportv1.BundleArchive, err error) {
	retryTimer := newRetryTimer(client.policy)
	request := &exportv1.DownloadBundleRequest{Name: name}
	open := func(ctx context.Context) (grpc.ServerStreamingClient[exportv1.DownloadBundleResponse], error) {
		return client.service.DownloadBundle(ctx, request)
	}
	for {
		err := readParts(ctx, client.policy, open, func(part *exportv1.DownloadBundleResponse) error {
			if metadata := part.GetArchive(); metadata != nil {
				if failure := checkArchive(metadata, name); failure != nil {
					return failure
				}
				archive = metadata
				return nil
			}
			_, err := writer.Write(part.GetData())
			return err
		})
		if err == nil && archive == nil {
			err = protocolError("bundle without its metadata")
		}
		if err == nil {
			return archive, nil
		}
		failure, isClientError := err.(*Error)
		if archive != nil || !isClientError || !failure.isRetryable() {
			return nil, err
		}
		if err := retryTimer.wait(ctx, name, failure); err != nil {
			return nil, err
		}
	}
}

// readParts reads a stream to its end. It returns an *Error, or the error of handle.
func readParts[Part any](
	ctx context.Context, policy Policy,
	open func(context.Context) (grpc.ServerStreamingClient[Part], error),
	handle func(*Part) error,
) error {
	stream := newWatchedStream(ctx, open)
	defer stream.cancel()
	for {
		part, err := stream.next(policy.IdleTimeout)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return errorFrom(ctx, err)
		}
		if err := handle(part); err != nil {
			return err
		}
	}
}
