package com.tara.export.client;

import io.grpc.Context;
import io.grpc.Status;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** Waits between attempts as long as there is headway now and then. */
final class Patience {
  private final Connection connection;
  private final Policy policy;
  private long nextMillis;
  private long lastProgressNanos;

  Patience(Connection connection) {
    this.connection = connection;
    this.policy = connection.policy();
    progressed();
  }

  /** There was headway: begin with short waits again. */
  void progressed() {
    lastProgressNanos = System.nanoTime();
    nextMillis = policy.minDelay().toMillis();
  }

  /** How long there was no headway. */
  Duration waited() {
    return Duration.ofNanos(System.nanoTime() - lastProgressNanos);
  }

  /** Waits before the next attempt at {@code of}, or gives up where patience ends before that. */
  void waitAfter(TaraExportException failure, String of) {
    Duration delay = jittered();
    if (failure.retryDelay().compareTo(delay) > 0) {
      delay = failure.retryDelay();
    }
    Duration waited = waited();
    if (waited.plus(delay).compareTo(policy.patience()) > 0) {
      String message =
          "no news of %s for %d s, it may still go on: %s"
              .formatted(of, waited.toSeconds(), failure.getMessage());
      throw TaraExportException.of(
              Status.Code.UNAVAILABLE, TaraExportException.LOST_CONTACT, message)
          .with(Map.of("name", of))
          .causedBy(failure);
    }
    sleep(delay);
    // Otherwise grpc-java would wait longer than that, up to two minutes, before it connects again.
    connection.channel().resetConnectBackoff();
  }

  /** Waits, unless the thread is interrupted or its context ends. */
  private static void sleep(Duration delay) {
    Context context = Context.current();
    CountDownLatch ended = new CountDownLatch(1);
    Context.CancellationListener listener = cancelled -> ended.countDown();
    context.addListener(listener, Runnable::run);
    try {
      if (ended.await(delay.toMillis(), TimeUnit.MILLISECONDS)) {
        throw TaraExportException.ended(context);
      }
    } catch (InterruptedException interrupted) {
      throw TaraExportException.interrupted(interrupted);
    } finally {
      context.removeListener(listener);
    }
  }

  /** Between half and all of the wait, so that clients don't come back all at once. */
  private Duration jittered() {
    long millis = Math.max(2, nextMillis);
    nextMillis = Math.min(2 * millis, policy.maxDelay().toMillis());
    return Duration.ofMillis(millis / 2 + ThreadLocalRandom.current().nextLong(millis / 2 + 1));
  }
}
