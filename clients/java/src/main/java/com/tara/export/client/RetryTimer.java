package com.tara.export.client;

import io.grpc.Context;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** Waits between attempts until there is no progress within the timeout. */
final class RetryTimer {
  private final Connection connection;
  private final Policy policy;
  private long nextMillis;
  private long lastProgressNanos;

  RetryTimer(Connection connection) {
    this.connection = connection;
    this.policy = connection.policy();
    recordProgress();
  }

  /** Restarts the timeout and the backoff. */
  void recordProgress() {
    lastProgressNanos = System.nanoTime();
    nextMillis = policy.minDelay().toMillis();
  }

  /** Time since the last progress. */
  Duration sinceProgress() {
    return Duration.ofNanos(System.nanoTime() - lastProgressNanos);
  }

  /** Waits before the next attempt. Throws if the timeout would end before that. */
  void waitAfter(TaraExportException failure, String subject) {
    Duration delay = jittered();
    if (failure.retryDelay().compareTo(delay) > 0) {
      delay = failure.retryDelay();
    }
    Duration waited = sinceProgress();
    if (waited.plus(delay).compareTo(policy.progressTimeout()) > 0) {
      String message =
          "no progress of %s for %d s, it may still be running: %s"
              .formatted(subject, waited.toSeconds(), failure.getMessage());
      throw TaraExportException.of(
              Status.Code.UNAVAILABLE, TaraExportException.LOST_CONTACT, message)
          .with(Map.of("name", subject))
          .causedBy(failure);
    }
    sleep(delay);
    // Otherwise grpc-java would wait longer, up to two minutes, before it reconnects.
    connection.channel().resetConnectBackoff();
  }

  /** Waits. Throws if the thread is interrupted or its context ends. */
  private static void sleep(Duration delay) {
    Context context = Context.current();
    CountDownLatch ended = new CountDownLatch(1);
    Context.CancellationListener listener = cancelled -> ended.countDown();
    context.addListener(listener, Runnable::run);
    try {
      if (ended.await(delay.toMillis(), TimeUnit.MILLISECONDS)) {
        throw TaraExportException.contextEnded(context);
      }
    } catch (InterruptedException interrupted) {
      throw TaraExportException.interrupted(interrupted);
    } finally {
      context.removeListener(listener);
    }
  }

  /** Returns a random delay between half and all of the next backoff. */
  private Duration jittered() {
    long millis = Math.max(2, nextMillis);
    nextMillis = Math.min(2 * millis, policy.maxDelay().toMillis());
    return Duration.ofMillis(millis / 2 + ThreadLocalRandom.current().nextLong(millis / 2 + 1));
  }
}
