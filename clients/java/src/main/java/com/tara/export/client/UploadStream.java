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

/** One stream that brings a document, or the rest of one, at the pace of the line. */
final class UploadStream {
  /** Bytes of one message. */
  static final int PIECE_BYTES = 1024 * 1024;

  private final Duration patience;
  private final ClientCall<UploadDocumentRequest, UploadDocumentResponse> call;
  private final Object change = new Object();
  private UploadDocumentResponse answer;
  private Status ending;
  private Metadata trailers;

  UploadStream(Connection connection) {
    patience = connection.policy().patience();
    call =
        connection
            .channel()
            .newCall(ExportServiceGrpc.getUploadDocumentMethod(), CallOptions.DEFAULT);
  }

  /** Sends what the server does not have yet, and returns what it has then. */
  Upload send(Upload known, Content content, LongConsumer progress) throws IOException {
    call.start(new Listener(), new Metadata());
    try {
      call.request(1);
      long start = known.getCommittedSizeBytes();
      boolean isFinished = false;
      while (!isFinished && awaitRoom()) {
        // Of a document that is there already only the end is said.
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
      return awaitAnswer();
    } finally {
      call.cancel("no longer wanted", null);
    }
  }

  /** Waits until the connection takes a message; false: the call has ended. */
  private boolean awaitRoom() {
    synchronized (change) {
      await(() -> ending != null || call.isReady());
      return ending == null;
    }
  }

  private Upload awaitAnswer() {
    synchronized (change) {
      await(() -> ending != null);
      if (!ending.isOk()) {
        throw TaraExportException.from(ending.asRuntimeException(trailers));
      }
      if (answer == null) {
        throw TaraExportException.protocol("an upload without an answer");
      }
      return answer.getUpload();
    }
  }

  /** Waits for a change, as long as something moves within the patience for that. */
  private void await(BooleanSupplier isDone) {
    long end = System.nanoTime() + patience.toNanos();
    while (!isDone.getAsBoolean()) {
      long leftMillis = (end - System.nanoTime()) / 1_000_000;
      if (leftMillis <= 0) {
        throw TaraExportException.lost("the upload makes no headway");
      }
      try {
        change.wait(leftMillis);
      } catch (InterruptedException interrupted) {
        throw TaraExportException.interrupted(interrupted);
      }
    }
  }

  private final class Listener extends ClientCall.Listener<UploadDocumentResponse> {
    @Override
    public void onReady() {
      synchronized (change) {
        change.notifyAll();
      }
    }

    @Override
    public void onMessage(UploadDocumentResponse message) {
      answer = message;
    }

    @Override
    public void onClose(Status status, Metadata received) {
      synchronized (change) {
        ending = status;
        trailers = received;
        change.notifyAll();
      }
    }
  }
}
