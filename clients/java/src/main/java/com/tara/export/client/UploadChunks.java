package com.tara.export.client;

import com.google.protobuf.UnsafeByteOperations;
import com.tara.export.v1.Upload;
import com.tara.export.v1.UploadChunkRequest;
import io.grpc.Context;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** The smallest chunks of an upload, for proxies that limit the size of requests. */
final class UploadChunks {
  private final Connection connection;

  UploadChunks(Connection connection) {
    this.connection = connection;
  }

  /** Whether the server accepts small chunks. Servers of earlier releases announce no range. */
  static boolean areAccepted(Upload upload) {
    int smallest = upload.getMinChunkSizeBytes();
    int largest = Math.min(upload.getChunkSizeBytes(), Connection.MAX_MESSAGE_BYTES);
    return smallest > 0 && smallest <= largest;
  }

  /** Sends the next chunk to a server that accepts it, and returns the resulting upload. */
  Upload sendNext(Upload known, Content content) throws IOException {
    long start = known.getCommittedSizeBytes();
    // Empty if all bytes are uploaded already: this only finishes the upload.
    int length = (int) Math.min(known.getMinChunkSizeBytes(), content.sizeBytes() - start);
    UploadChunkRequest request =
        UploadChunkRequest.newBuilder()
            .setName(known.getName())
            .setOffset(start)
            .setData(UnsafeByteOperations.unsafeWrap(content.read(start, length)))
            .setFinish(start + length == content.sizeBytes())
            .build();
    return send(request);
  }

  private Upload send(UploadChunkRequest request) {
    Duration limit =
        connection.policy().deadline().plus(Policy.sendingTime(request.getData().size()));
    try {
      return connection
          .call(
              service ->
                  service
                      .withDeadlineAfter(limit.toMillis(), TimeUnit.MILLISECONDS)
                      .uploadChunk(request))
          .getUpload();
    } catch (TaraExportException failure) {
      boolean isTimeout =
          failure.code() == Status.Code.DEADLINE_EXCEEDED && failure.reason().isEmpty();
      if (isTimeout && !Context.current().isCancelled()) {
        throw TaraExportException.connectionLost("no response to a chunk within the timeout");
      }
      throw failure;
    }
  }
}
