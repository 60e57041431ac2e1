package com.tara.export.client;

import com.tara.export.v1.Batch;
import com.tara.export.v1.BatchItem;
import com.tara.export.v1.BatchStartExportsRequest;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.WatchBatchRequest;
import com.tara.export.v1.WatchBatchResponse;
import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Follows one batch until every item has ended, over one or more streams. */
final class BatchFollower implements AutoCloseable {
  /** The time that a server may take to accept a batch, for each request. */
  private static final Duration ACCEPT_TIME = Duration.ofMillis(200);

  private final Connection connection;
  private final Policy policy;
  private final String name;

  /** Sent if the server does not know the batch; null when only watching. */
  private final BatchStartExportsRequest request;

  private final Set<Integer> seen = new HashSet<>();
  private final RetryTimer retryTimer;
  private WatchedStream<?, WatchBatchResponse> stream;
  private boolean isStarting;
  private String runId = "";
  private long sequence;
  private int notAccepted = Integer.MAX_VALUE;

  BatchFollower(Connection connection, String name, BatchStartExportsRequest request) {
    this.connection = connection;
    this.policy = connection.policy();
    this.name = name;
    this.request = request;
    this.isStarting = request != null;
    this.retryTimer = new RetryTimer(connection);
  }

  /** Calls the listener with the result of each item, until all have ended. */
  void run(Consumer<BatchItem> listener) {
    while (true) {
      WatchBatchResponse step;
      try {
        step = read();
      } catch (TaraExportException failure) {
        close();
        recover(failure);
        continue;
      }
      ServerNames.checkBatchStep(step, name);
      runId = step.getRunId();
      sequence = step.getSequence();
      retryTimer.recordProgress();
      if (step.hasItem() && seen.add(step.getItem().getIndex())) {
        listener.accept(step.getItem());
      }
      if (step.hasEnded()) {
        return;
      }
    }
  }

  @Override
  public void close() {
    if (stream != null) {
      stream.close();
      stream = null;
    }
  }

  private WatchBatchResponse read() {
    if (isStarting) {
      start();
      isStarting = false;
    }
    if (stream == null) {
      WatchBatchRequest watch =
          WatchBatchRequest.newBuilder()
              .setName(name)
              .setRunId(runId)
              .setAfterSequence(sequence)
              .build();
      stream = new WatchedStream<>(connection, ExportServiceGrpc.getWatchBatchMethod(), watch);
    }
    WatchBatchResponse step = stream.next(policy.idleTimeout());
    if (step == null) {
      throw TaraExportException.connectionLost("the stream ended before the batch");
    }
    return step;
  }

  /** Sends the batch. Throws if it has to be sent again. */
  private void start() {
    Duration limit =
        policy
            .idleTimeout()
            .plus(Policy.sendingTime(request.getSerializedSize()))
            .plus(ACCEPT_TIME.multipliedBy(request.getRequestsCount()));
    Batch batch =
        connection
            .call(
                service ->
                    service
                        .withDeadlineAfter(limit.toMillis(), TimeUnit.MILLISECONDS)
                        .batchStartExports(request))
            .getBatch();
    ServerNames.checkBatch(batch, name);
    List<BatchItem> missing =
        batch.getItemsList().stream()
            .filter(item -> item.getState() == BatchItem.State.STATE_NOT_ACCEPTED)
            .toList();
    if (missing.isEmpty()) {
      return;
    }
    if (missing.size() < notAccepted) {
      notAccepted = missing.size();
      retryTimer.recordProgress();
    }
    throw TaraExportException.connectionLost(
        "%d items were not accepted, one because %s"
            .formatted(missing.size(), missing.get(0).getMessage()));
  }

  /** Prepares the next attempt, or throws if a retry cannot help. */
  private void recover(TaraExportException failure) {
    if (request != null && !isStarting && failure.reason().equals("BATCH_NOT_HERE")) {
      isStarting = true;
      return;
    }
    if (!failure.isLost()) {
      throw failure;
    }
    retryTimer.waitAfter(failure, name);
  }
}
