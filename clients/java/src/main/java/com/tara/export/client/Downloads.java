package com.tara.export.client;

import com.google.protobuf.ByteString;
import com.tara.export.v1.Artifact;
import com.tara.export.v1.BundleArchive;
import com.tara.export.v1.DownloadArtifactRequest;
import com.tara.export.v1.DownloadArtifactResponse;
import com.tara.export.v1.DownloadBundleRequest;
import com.tara.export.v1.DownloadBundleResponse;
import com.tara.export.v1.ExportServiceGrpc;
import io.grpc.Status;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;

/** Downloads files of bundles and whole bundles. */
final class Downloads {
  /** Writes a download to a stream, and returns its description. */
  interface Transfer<T> {
    T to(OutputStream output) throws IOException;
  }

  private final Connection connection;

  Downloads(Connection connection) {
    this.connection = connection;
  }

  /** Writes a file that appears under its name only when it is complete. */
  static <T> T toFile(Path target, Transfer<T> transfer) throws IOException {
    Path folder = target.toAbsolutePath().getParent();
    Path unfinished = Files.createTempFile(folder, "." + target.getFileName(), null);
    try {
      T written;
      try (OutputStream output =
          Files.newOutputStream(unfinished, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS)) {
        written = transfer.to(output);
      }
      Files.move(
          unfinished, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      return written;
    } finally {
      Files.deleteIfExists(unfinished);
    }
  }

  /** Writes one file of a bundle. Resumes a lost stream. */
  Artifact artifact(String name, String path, OutputStream output) throws IOException {
    RetryTimer retryTimer = new RetryTimer(connection);
    MessageDigest digest = Digests.sha256();
    Artifact artifact = null;
    long received = 0;
    while (true) {
      DownloadArtifactRequest request =
          DownloadArtifactRequest.newBuilder()
              .setName(name)
              .setPath(path)
              .setOffset(received)
              .build();
      try (WatchedStream<?, DownloadArtifactResponse> stream =
          new WatchedStream<>(connection, ExportServiceGrpc.getDownloadArtifactMethod(), request)) {
        DownloadArtifactResponse part;
        while ((part = stream.next(connection.policy().idleTimeout())) != null) {
          if (part.hasArtifact()) {
            artifact = ServerNames.checkedArtifact(part.getArtifact(), name, path);
            continue;
          }
          ByteString data = part.getData();
          retryTimer.recordProgress();
          received += data.size();
          if (artifact == null || received > artifact.getSizeBytes()) {
            return checked(artifact, received, "");
          }
          digest.update(data.asReadOnlyByteBuffer());
          data.writeTo(output);
        }
        return checked(artifact, received, Digests.hex(digest));
      } catch (TaraExportException failure) {
        if (!failure.isLost()) {
          throw failure;
        }
        retryTimer.waitAfter(failure, path);
      }
    }
  }

  private static Artifact checked(Artifact artifact, long received, String sha256) {
    if (artifact == null) {
      throw TaraExportException.invalidResponse("download without its artifact");
    }
    if (received != artifact.getSizeBytes()) {
      throw damaged(
          artifact, "received " + received + " bytes instead of " + artifact.getSizeBytes());
    }
    if (!sha256.equals(artifact.getSha256())) {
      throw damaged(artifact, "SHA-256 is " + sha256 + " instead of " + artifact.getSha256());
    }
    return artifact;
  }

  private static TaraExportException damaged(Artifact artifact, String message) {
    return TaraExportException.of(
        Status.Code.DATA_LOSS,
        TaraExportException.DAMAGED,
        artifact.getPath() + " is damaged: " + message);
  }

  /** Writes a whole bundle as a ZIP file. A lost stream cannot be resumed. */
  BundleArchive bundle(String name, OutputStream output) throws IOException {
    RetryTimer retryTimer = new RetryTimer(connection);
    DownloadBundleRequest request = DownloadBundleRequest.newBuilder().setName(name).build();
    BundleArchive archive = null;
    while (true) {
      try (WatchedStream<?, DownloadBundleResponse> stream =
          new WatchedStream<>(connection, ExportServiceGrpc.getDownloadBundleMethod(), request)) {
        DownloadBundleResponse part;
        while ((part = stream.next(connection.policy().idleTimeout())) != null) {
          if (part.hasArchive()) {
            archive = ServerNames.checkedArchive(part.getArchive(), name);
          } else {
            part.getData().writeTo(output);
          }
        }
        if (archive == null) {
          throw TaraExportException.invalidResponse("download without its archive");
        }
        return archive;
      } catch (TaraExportException failure) {
        if (archive != null || !failure.isLost()) {
          throw failure;
        }
        retryTimer.waitAfter(failure, name);
      }
    }
  }
}
