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

/** Gets files of bundles, and whole bundles, out of a server. */
final class Downloads {
  /** Writes something, and returns what it is. */
  interface Writing<T> {
    T to(OutputStream output) throws IOException;
  }

  private final Connection connection;

  Downloads(Connection connection) {
    this.connection = connection;
  }

  /** Lets a file appear under its name once it is whole. */
  static <T> T toFile(Path target, Writing<T> writing) throws IOException {
    Path folder = target.toAbsolutePath().getParent();
    Path unfinished = Files.createTempFile(folder, "." + target.getFileName(), null);
    try {
      T written;
      try (OutputStream output =
          Files.newOutputStream(unfinished, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS)) {
        written = writing.to(output);
      }
      Files.move(
          unfinished, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      return written;
    } finally {
      Files.deleteIfExists(unfinished);
    }
  }

  /** Writes one file of a bundle. A lost stream is taken up where it was. */
  Artifact artifact(String name, String path, OutputStream output) throws IOException {
    Patience patience = new Patience(connection);
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
          new WatchedStream<>(
              connection.channel(), ExportServiceGrpc.getDownloadArtifactMethod(), request)) {
        DownloadArtifactResponse part;
        while ((part = stream.next(connection.policy().silence())) != null) {
          if (part.hasArtifact()) {
            artifact = ServerNames.checkedArtifact(part.getArtifact(), name, path);
            continue;
          }
          ByteString data = part.getData();
          patience.progressed();
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
        patience.waitAfter(failure, path);
      }
    }
  }

  private static Artifact checked(Artifact artifact, long received, String sha256) {
    if (artifact == null) {
      throw TaraExportException.protocol("a download without its description");
    }
    if (received != artifact.getSizeBytes()) {
      throw damaged(artifact, received + " bytes came instead of " + artifact.getSizeBytes());
    }
    if (!sha256.equals(artifact.getSha256())) {
      throw damaged(artifact, "its SHA-256 is " + sha256 + " instead of " + artifact.getSha256());
    }
    return artifact;
  }

  private static TaraExportException damaged(Artifact artifact, String message) {
    return TaraExportException.of(
        Status.Code.DATA_LOSS,
        TaraExportException.DAMAGED,
        artifact.getPath() + " arrived damaged: " + message);
  }

  /** Writes a whole bundle as a ZIP file. A stream that is cut can't be taken up. */
  BundleArchive bundle(String name, OutputStream output) throws IOException {
    Patience patience = new Patience(connection);
    DownloadBundleRequest request = DownloadBundleRequest.newBuilder().setName(name).build();
    BundleArchive archive = null;
    while (true) {
      try (WatchedStream<?, DownloadBundleResponse> stream =
          new WatchedStream<>(
              connection.channel(), ExportServiceGrpc.getDownloadBundleMethod(), request)) {
        DownloadBundleResponse part;
        while ((part = stream.next(connection.policy().silence())) != null) {
          if (part.hasArchive()) {
            archive = ServerNames.checkedArchive(part.getArchive(), name);
          } else {
            part.getData().writeTo(output);
          }
        }
        if (archive == null) {
          throw TaraExportException.protocol("a bundle without its description");
        }
        return archive;
      } catch (TaraExportException failure) {
        if (archive != null || !failure.isLost()) {
          throw failure;
        }
        patience.waitAfter(failure, name);
      }
    }
  }
}
