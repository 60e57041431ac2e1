package com.tara.export.client;

import com.google.protobuf.UnsafeByteOperations;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.Upload;
import com.tara.export.v1.UploadDocumentRequest;
import com.tara.export.v1.UploadDocumentResponse;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.Status;
import java.io.IOException;
import java.time.Duration;
import java.util.function.BooleanSupplier;
import java.util.function.LongConsumer;

/** A stream that uploads a document, or the rest of one, with backpressure. */
final class UploadStream {
  /** Size of the data in one message. */
  static final int PIECE_BYTES = 1024 * 1024;

  private final Duration progressTimeout;
  private final String server;
  private final ClientCall<UploadDocumentRequest, UploadDocumentResponse> call;
  private final Object lock = new Object();
  private UploadDocumentResponse response;
  private Status finalStatus;
  private Metadata trailers;

  UploadStream(Connection connection) {
    server = connection.server();
    progressTimeout = connection.policy().progressTimeout();
    call =
        connection
            .channel(connection.requestToken())
            .newCall(ExportServiceGrpc.getUploadDocumentMethod(), CallOptions.DEFAULT);
  }

  /** Sends the bytes that the server does not have, and returns the resulting upload. */
  Upload send(Upload known, Content content, LongConsumer progress) throws IOException {
    call.start(new Listener(), new Metadata());
    try {
      call.request(1);
      long start = known.getCommittedSizeBytes();
      boolean isFinished = false;
      while (!isFinished && awaitReady()) {
        // If all bytes are uploaded already, this only finishes the upload.
        int length = (int) Math.min(PIECE_BYTES, content.sizeBytes() - start);
        isFinished = start + length == content.sizeBytes();
        byte[] data = content.read(start, length);
        call.sendMessage(
            UploadDocumentRequest.newBuilder()
                .setName(known.getName())
                .setOffset(start)
                .setData(UnsafeByteOperations.unsafeWrap(data))
                .setFinish(isFinished)
                .build());
        start += length;
        progress.accept(start);
      }
      call.halfClose();
      return awaitResponse();
    } finally {
      call.cancel("no longer needed", null);
    }
  }

  /** Waits until a message can be sent. Returns false if the call has ended. */
  private boolean awaitReady() {
    synchronized (lock) {
      await(() -> finalStatus != null || call.isReady());
      return finalStatus == null;
    }
  }

  private Upload awaitResponse() {
    synchronized (lock) {
      await(() -> finalStatus != null);
      if (!finalStatus.isOk()) {
        throw TaraExportException.from(finalStatus.asRuntimeException(trailers), server);
      }
      if (response == null) {
        throw TaraExportException.invalidResponse("upload without a response");
      }
      return response.getUpload();
    }
  }

  /** Waits for a condition, up to the progress timeout. */
  private void await(BooleanSupplier isDone) {
    long end = System.nanoTime() + progressTimeout.toNanos();
    while (!isDone.getAsBoolean()) {
      long leftMillis = (end - System.nanoTime()) / 1_000_000;
      if (leftMillis <= 0) {
        throw TaraExportException.connectionLost("no progress of the upload within the timeout");
      }
      try {
        lock.wait(leftMillis);
      } catch (InterruptedException interrupted) {
        throw TaraExportException.interrupted(interrupted);
      }
    }
  }

  private final class Listener extends ClientCall.Listener<UploadDocumentResponse> {
    @Override
    public void onReady() {
      synchronized (lock) {
        lock.notifyAll();
      }
    }

    @Override
    public void onMessage(UploadDocumentResponse message) {
      response = message;
    }

    @Override
    public void onClose(Status status, Metadata received) {
      synchronized (lock) {
        finalStatus = status;
        trailers = received;
        lock.notifyAll();
      }
    }
  }
}
