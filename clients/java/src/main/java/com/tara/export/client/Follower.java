package com.tara.export.client;

import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.StartExportRequest;
import com.tara.export.v1.WatchExportRequest;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import java.time.Duration;

/** Follows one export to its end, over as many streams as that takes. */
final class Follower implements AutoCloseable {
  private final ManagedChannel channel;
  private final Policy policy;
  private final String name;

  /** What to send where nothing is known of the export; null when only watching. */
  private final StartExportRequest request;

  private final SeenEvents seen = new SeenEvents();

  /** Headway is a new event of a run. */
  private final Patience patience;

  private WatchedStream<?, ExportEvent> stream;
  private boolean isStarting;

  /** Whether the request was sent again because nobody seemed to work on it. Once is enough. */
  private boolean hasStartedAgain;

  Follower(Connection connection, String name, StartExportRequest request) {
    this.channel = connection.channel();
    this.policy = connection.policy();
    this.name = name;
    this.request = request;
    this.isStarting = request != null;
    this.patience = new Patience(connection);
  }

  /** The next event that was not seen before. */
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
      if (SeenEvents.isOfARun(event)) {
        patience.progressed();
      } else {
        startAgainIfAbandoned();
      }
      return event;
    }
  }

  /** The code of the status that ends the stream after {@code failed}. */
  Status.Code endingCode() {
    try {
      stream.next(policy.silence());
    } catch (TaraExportException failure) {
      if (!failure.reason().isEmpty()) {
        return failure.code();
      }
    }
    return Status.Code.ABORTED;
  }

  /** Ends the open stream. A later next attaches again. */
  @Override
  public void close() {
    if (stream != null) {
      stream.close();
      stream = null;
    }
  }

  private ExportEvent read() {
    Duration limit = policy.silence();
    if (stream == null) {
      if (isStarting) {
        Duration longer =
            policy.patience().compareTo(limit) > 0 ? policy.patience() : policy.silence();
        limit = longer.plus(Policy.sendingTime(request.getSerializedSize()));
      }
      stream = open();
    }
    ExportEvent event = stream.next(limit);
    if (event == null) {
      throw TaraExportException.lost("the stream ended before the export did");
    }
    // From now on the server knows the export.
    isStarting = false;
    return event;
  }

  private WatchedStream<?, ExportEvent> open() {
    if (isStarting) {
      return new WatchedStream<>(channel, ExportServiceGrpc.getStartExportMethod(), request);
    }
    WatchExportRequest watch =
        WatchExportRequest.newBuilder()
            .setName(name)
            .setRunId(seen.runId())
            .setAfterSequence(seen.afterSequence())
            .build();
    return new WatchedStream<>(channel, ExportServiceGrpc.getWatchExportMethod(), watch);
  }

  /** Makes ready for the next attempt, or throws where none would help. */
  private void recover(TaraExportException failure) {
    if (request != null && !isStarting && failure.reason().equals("EXPORT_NOT_HERE")) {
      isStarting = true;
      return;
    }
    // Not accepted: the store is down, and the caller did not want another.
    boolean isRefused = isStarting && failure.reason().equals("STORE_UNAVAILABLE");
    if (!failure.isLost() || isRefused) {
      throw failure;
    }
    patience.waitAfter(failure, name);
    isStarting = false;
  }

  /**
   * Sends the request again when nobody finishes the export for so long: a server that follows it
   * through the store can't see whether anybody works on it, and will finish it then.
   */
  private void startAgainIfAbandoned() {
    boolean isAbandoned = patience.waited().compareTo(policy.patience()) > 0;
    if (isAbandoned && request != null && !hasStartedAgain) {
      hasStartedAgain = true;
      patience.progressed();
      close();
      isStarting = true;
    }
  }
}
