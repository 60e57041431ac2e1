package com.tara.export.client;

import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.StartExportRequest;
import com.tara.export.v1.WatchExportRequest;
import io.grpc.Status;
import java.time.Duration;

/** Follows one export until it ends, over one or more streams. */
final class Follower implements AutoCloseable {
  private final Connection connection;
  private final Policy policy;
  private final String name;

  /** Sent if the server does not know the export; null when only watching. */
  private final StartExportRequest request;

  private final SeenEvents seen = new SeenEvents();

  /** Progress is a new event of a run. */
  private final RetryTimer retryTimer;

  private WatchedStream<?, ExportEvent> stream;
  private boolean isStarting;

  /** Whether the request was already sent again because the export seemed abandoned. */
  private boolean hasStartedAgain;

  Follower(Connection connection, String name, StartExportRequest request) {
    this.connection = connection;
    this.policy = connection.policy();
    this.name = name;
    this.request = request;
    this.isStarting = request != null;
    this.retryTimer = new RetryTimer(connection);
  }

  /** Returns the next new event. */
  ExportEvent next() {
    while (true) {
      ExportEvent event;
      try {
        event = read();
      } catch (TaraExportException failure) {
        close();
        recover(failure);
        continue;
      }
      ServerNames.checkEvent(event, name);
      if (!seen.isNew(event)) {
        continue;
      }
      if (SeenEvents.isRunEvent(event)) {
        retryTimer.recordProgress();
      } else {
        startAgainIfAbandoned();
      }
      return event;
    }
  }

  /** Returns the code of the status that ends the stream after {@code failed}. */
  Status.Code finalCode() {
    try {
      stream.next(policy.idleTimeout());
    } catch (TaraExportException failure) {
      if (!failure.reason().isEmpty()) {
        return failure.code();
      }
    }
    return Status.Code.ABORTED;
  }

  /** Closes the open stream. The next call of next opens another. */
  @Override
  public void close() {
    if (stream != null) {
      stream.close();
      stream = null;
    }
  }

  private ExportEvent read() {
    Duration limit = policy.idleTimeout();
    if (stream == null) {
      if (isStarting) {
        Duration longer =
            policy.progressTimeout().compareTo(limit) > 0
                ? policy.progressTimeout()
                : policy.idleTimeout();
        limit = longer.plus(Policy.sendingTime(request.getSerializedSize()));
      }
      stream = open();
    }
    ExportEvent event = stream.next(limit);
    if (event == null) {
      throw TaraExportException.connectionLost("the stream ended before the export");
    }
    // The server knows the export now.
    isStarting = false;
    return event;
  }

  private WatchedStream<?, ExportEvent> open() {
    if (isStarting) {
      return new WatchedStream<>(connection, ExportServiceGrpc.getStartExportMethod(), request);
    }
    WatchExportRequest watch =
        WatchExportRequest.newBuilder()
            .setName(name)
            .setRunId(seen.runId())
            .setAfterSequence(seen.afterSequence())
            .build();
    return new WatchedStream<>(connection, ExportServiceGrpc.getWatchExportMethod(), watch);
  }

  /** Prepares the next attempt, or throws if a retry cannot help. */
  private void recover(TaraExportException failure) {
    if (request != null && !isStarting && failure.reason().equals("EXPORT_NOT_HERE")) {
      isStarting = true;
      return;
    }
    // Not accepted: the store is down, and the caller allowed no fallback.
    boolean isRejected = isStarting && failure.reason().equals("STORE_UNAVAILABLE");
    if (!failure.isLost() || isRejected) {
      throw failure;
    }
    retryTimer.waitAfter(failure, name);
    isStarting = false;
  }

  /**
   * Sends the request again after the progress timeout, so that this server finishes the export. A
   * server that follows an export through the store cannot see whether another replica is working
   * on it.
   */
  private void startAgainIfAbandoned() {
    boolean isAbandoned = retryTimer.sinceProgress().compareTo(policy.progressTimeout()) > 0;
    if (isAbandoned && request != null && !hasStartedAgain) {
      hasStartedAgain = true;
      retryTimer.recordProgress();
      close();
      isStarting = true;
    }
  }
}
