package com.tara.export.client;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A server stream with an idle timeout. It requests one message at a time, so that a slow reader
 * does not use unbounded memory.
 */
final class WatchedStream<Q, A> implements AutoCloseable {
  /** A message, or the end of the stream. */
  private record Item<A>(A message, Status status, Metadata trailers) {}

  private final Connection connection;
  private final MethodDescriptor<Q, A> method;
  private final Q request;
  private String token;
  private BlockingQueue<Item<A>> arrived;
  private ClientCall<Q, A> call;

  /** Whether the call can be repeated with another token: before its first response, once. */
  private boolean canReplaceToken = true;

  WatchedStream(Connection connection, MethodDescriptor<Q, A> method, Q request) {
    this.connection = connection;
    this.method = method;
    this.request = request;
    start(connection.requestToken());
  }

  private void start(String token) {
    this.token = token;
    BlockingQueue<Item<A>> arrived = new LinkedBlockingQueue<>();
    this.arrived = arrived;
    call = connection.channel(token).newCall(method, CallOptions.DEFAULT);
    call.start(
        new ClientCall.Listener<>() {
          @Override
          public void onMessage(A message) {
            arrived.add(new Item<>(message, null, null));
          }

          @Override
          public void onClose(Status status, Metadata trailers) {
            arrived.add(new Item<>(null, status, trailers));
          }
        },
        new Metadata());
    call.sendMessage(request);
    call.halfClose();
  }

  /** Returns the next message, or null after the last. */
  A next(Duration limit) {
    call.request(1);
    Item<A> item;
    try {
      item = arrived.poll(limit.toMillis(), TimeUnit.MILLISECONDS);
    } catch (InterruptedException interrupted) {
      throw TaraExportException.interrupted(interrupted);
    }
    if (item == null) {
      throw TaraExportException.connectionLost(
          "no message from the server within the idle timeout");
    }
    boolean isFirst = canReplaceToken;
    canReplaceToken = false;
    if (item.message != null) {
      return item.message;
    }
    String other = isFirst ? connection.replacement(token, item.status) : null;
    if (other != null) {
      start(other);
      return next(limit);
    }
    // Further calls return the same end.
    arrived.add(item);
    if (item.status.isOk()) {
      return null;
    }
    throw TaraExportException.from(
        item.status.asRuntimeException(item.trailers), connection.server());
  }

  @Override
  public void close() {
    call.cancel("no longer needed", null);
  }
}
