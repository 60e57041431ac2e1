package com.tara.export.client;

import com.tara.export.v1.CreateUploadRequest;
import com.tara.export.v1.GetUploadRequest;
import com.tara.export.v1.Upload;
import io.grpc.Status;
import java.io.IOException;
import java.util.Set;
import java.util.UUID;
import java.util.function.LongConsumer;

/** The upload of one document, with the state between attempts. */
final class Uploader {
  private static final Set<String> UNUSABLE_UPLOAD =
      Set.of("UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED");
  private static final Set<String> TRANSIENT = Set.of("OVERLOADED", "UPLOAD_OFFSET_MISMATCH");

  private final Connection connection;
  private final Content content;
  private final LongConsumer progress;
  private final String sha256;

  /** Derived from the content, so that another process can resume the upload. */
  private String requestId;

  private Upload known;
  private boolean hasSecondId;

  Uploader(Connection connection, Content content, LongConsumer progress) throws IOException {
    this.connection = connection;
    this.content = content;
    this.progress = progress;
    this.sha256 = Digests.of(content);
    this.requestId = Digests.uuid(sha256);
  }

  UploadedDocument run() throws IOException {
    RetryTimer retryTimer = new RetryTimer(connection);
    long maxCommittedBytes = 0;
    boolean hasNewToken = false;
    while (true) {
      try {
        attempt();
        return new UploadedDocument(known.getName(), content.sizeBytes(), sha256);
      } catch (TaraExportException failure) {
        if (UNUSABLE_UPLOAD.contains(failure.reason()) && !hasSecondId) {
          // The existing upload can no longer be used: switch to a new one.
          hasSecondId = true;
          requestId = UUID.randomUUID().toString();
          known = null;
          continue;
        }
        if (isRejectedToken(failure) && connection.canReplaceToken() && !hasNewToken) {
          // The token expired after the stream started. The next attempt requests another.
          hasNewToken = true;
          continue;
        }
        if (!failure.isLost() && !TRANSIENT.contains(failure.reason())) {
          throw failure;
        }
        if (known != null && known.getCommittedSizeBytes() > maxCommittedBytes) {
          maxCommittedBytes = known.getCommittedSizeBytes();
          retryTimer.recordProgress();
          hasNewToken = false;
        }
        retryTimer.waitAfter(failure, "an upload");
      }
    }
  }

  private static boolean isRejectedToken(TaraExportException failure) {
    return failure.code() == Status.Code.UNAUTHENTICATED
        && !failure.reason().equals(TaraExportException.TOKEN_UNAVAILABLE);
  }

  /** Sends the remaining bytes. */
  private void attempt() throws IOException {
    known = checked(find());
    progress.accept(known.getCommittedSizeBytes());
    if (known.getSha256().isEmpty() && !usesChunks()) {
      sendStream();
    }
    while (known.getSha256().isEmpty() && usesChunks()) {
      sendChunk();
    }
    if (known.getSha256().isEmpty()) {
      throw TaraExportException.connectionLost("the upload ended before the document");
    }
    if (!known.getSha256().equals(sha256)) {
      String message = "SHA-256 of the upload is " + known.getSha256() + " instead of " + sha256;
      throw TaraExportException.of(Status.Code.DATA_LOSS, TaraExportException.DAMAGED, message);
    }
    progress.accept(content.sizeBytes());
  }

  private boolean usesChunks() {
    return connection.sendsSmallChunks().get() && UploadChunks.areAccepted(known);
  }

  /** Sends the remaining bytes in one stream, or finds out that a proxy refuses large requests. */
  private void sendStream() throws IOException {
    try {
      known = checked(new UploadStream(connection).send(known, content, progress));
    } catch (TaraExportException failure) {
      if (!failure.isTooLargeForProxy() || !UploadChunks.areAccepted(known)) {
        throw failure;
      }
      connection.sendsSmallChunks().set(true);
      // The proxy passed on a part of the stream.
      known = checked(find());
      progress.accept(known.getCommittedSizeBytes());
    }
  }

  private void sendChunk() throws IOException {
    long start = known.getCommittedSizeBytes();
    known = checked(new UploadChunks(connection).sendNext(known, content));
    if (known.getCommittedSizeBytes() <= start && known.getSha256().isEmpty()) {
      throw TaraExportException.connectionLost("a chunk made no progress");
    }
    progress.accept(known.getCommittedSizeBytes());
  }

  private Upload checked(Upload upload) {
    return ServerNames.checkedUpload(
        upload, known == null ? "" : known.getName(), content.sizeBytes());
  }

  private Upload find() {
    if (known != null) {
      GetUploadRequest request = GetUploadRequest.newBuilder().setName(known.getName()).build();
      return connection.call(service -> service.getUpload(request)).getUpload();
    }
    CreateUploadRequest request =
        CreateUploadRequest.newBuilder()
            .setRequestId(requestId)
            .setSizeBytes(content.sizeBytes())
            .setSha256(sha256)
            .build();
    return connection.call(service -> service.createUpload(request)).getUpload();
  }
}
