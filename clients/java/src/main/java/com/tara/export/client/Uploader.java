package com.tara.export.client;

import com.tara.export.v1.CreateUploadRequest;
import com.tara.export.v1.GetUploadRequest;
import com.tara.export.v1.Upload;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.io.IOException;
import java.util.Set;
import java.util.UUID;
import java.util.function.LongConsumer;

/** One document's way to the server, and what is known of it between attempts. */
final class Uploader {
  private static final Set<String> GIVEN_UP =
      Set.of("UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED");
  private static final Set<String> MAY_PASS = Set.of("OVERLOADED", "UPLOAD_OFFSET");

  private final Connection connection;
  private final Content content;
  private final LongConsumer progress;
  private final String sha256;
  private String requestId = UUID.randomUUID().toString();
  private Upload known;
  private boolean hasSecondId;

  Uploader(Connection connection, Content content, LongConsumer progress) throws IOException {
    this.connection = connection;
    this.content = content;
    this.progress = progress;
    this.sha256 = Digests.of(content);
  }

  UploadedDocument run() throws IOException {
    Patience patience = new Patience(connection);
    long furthest = 0;
    while (true) {
      try {
        attempt();
        return new UploadedDocument(known.getName(), content.sizeBytes(), sha256);
      } catch (TaraExportException | StatusRuntimeException failed) {
        TaraExportException failure = TaraExportException.from(failed);
        if (GIVEN_UP.contains(failure.reason()) && !hasSecondId) {
          // Of an earlier process, or too old.
          hasSecondId = true;
          requestId = UUID.randomUUID().toString();
          known = null;
          continue;
        }
        if (!failure.isLost() && !MAY_PASS.contains(failure.reason())) {
          throw failure;
        }
        if (known != null && known.getCommittedSizeBytes() > furthest) {
          furthest = known.getCommittedSizeBytes();
          patience.progressed();
        }
        patience.waitAfter(failure, "an upload");
      }
    }
  }

  /** Brings the rest. */
  private void attempt() throws IOException {
    known = checked(find());
    progress.accept(known.getCommittedSizeBytes());
    if (known.getSha256().isEmpty()) {
      known = checked(new UploadStream(connection).send(known, content, progress));
    }
    if (known.getSha256().isEmpty()) {
      throw TaraExportException.lost("the upload ended before the document did");
    }
    if (!known.getSha256().equals(sha256)) {
      String message = "the server has " + known.getSha256() + ", and the document is " + sha256;
      throw TaraExportException.of(Status.Code.DATA_LOSS, TaraExportException.DAMAGED, message);
    }
    progress.accept(content.sizeBytes());
  }

  private Upload checked(Upload answer) {
    return ServerNames.checkedUpload(
        answer, known == null ? "" : known.getName(), content.sizeBytes());
  }

  private Upload find() {
    if (known != null) {
      GetUploadRequest request = GetUploadRequest.newBuilder().setName(known.getName()).build();
      return connection.service().getUpload(request).getUpload();
    }
    CreateUploadRequest request =
        CreateUploadRequest.newBuilder()
            .setRequestId(requestId)
            .setSizeBytes(content.sizeBytes())
            .setSha256(sha256)
            .build();
    return connection.service().createUpload(request).getUpload();
  }
}
