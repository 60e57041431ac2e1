package com.tara.export.client;

import com.tara.export.v1.AutomationServiceGrpc;
import com.tara.export.v1.ExportServiceGrpc;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Timeouts and retries.
 *
 * @param progressTimeout how long to retry without a new event of an export or progress of a
 *     transfer
 * @param idleTimeout how long a stream may be idle before it counts as lost; servers send a
 *     heartbeat at least every 15 s
 * @param minDelay the first retry delay; it doubles with each attempt
 * @param maxDelay the longest retry delay
 * @param deadline the deadline of a unary call, including retries
 * @param maxAttempts the maximum number of attempts of a unary call while the server is
 *     UNAVAILABLE; 2 to 5
 */
public record Policy(
    Duration progressTimeout,
    Duration idleTimeout,
    Duration minDelay,
    Duration maxDelay,
    Duration deadline,
    int maxAttempts) {

  /** The default policy. */
  public static final Policy DEFAULT =
      new Policy(
          Duration.ofMinutes(2),
          Duration.ofSeconds(45),
          Duration.ofMillis(200),
          Duration.ofSeconds(10),
          Duration.ofSeconds(30),
          // grpc-java reconnects one second after a connection failed during setup, and fails
          // all calls until then. With fewer attempts, all of them could fail.
          5);

  /**
   * The slowest supported connection. Timeouts are extended by the time that it needs for the sent
   * bytes.
   */
  private static final int SLOWEST_BYTES_PER_SECOND = 32 * 1024;

  /** Rejects values that grpc-java would reject later. */
  public Policy {
    if (minDelay.isNegative() || minDelay.isZero() || maxAttempts < 2 || maxAttempts > 5) {
      throw new IllegalArgumentException("minDelay must be positive and maxAttempts from 2 to 5");
    }
  }

  /** Returns this policy with another progress timeout. */
  public Policy withProgressTimeout(Duration progressTimeout) {
    return new Policy(progressTimeout, idleTimeout, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** Returns this policy with another idle timeout of streams. */
  public Policy withIdleTimeout(Duration idleTimeout) {
    return new Policy(progressTimeout, idleTimeout, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** Returns this policy with other retry delays. */
  public Policy withDelays(Duration minDelay, Duration maxDelay) {
    return new Policy(progressTimeout, idleTimeout, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** Returns this policy with another deadline of unary calls. */
  public Policy withDeadline(Duration deadline) {
    return new Policy(progressTimeout, idleTimeout, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** Returns this policy with another number of attempts of unary calls. */
  public Policy withMaxAttempts(int maxAttempts) {
    return new Policy(progressTimeout, idleTimeout, minDelay, maxDelay, deadline, maxAttempts);
  }

  static Duration sendingTime(long sizeBytes) {
    return Duration.ofSeconds(sizeBytes / SLOWEST_BYTES_PER_SECOND);
  }

  /**
   * Returns the gRPC service config of this policy. It does not contain streaming methods, because
   * grpc-java would restart an upload or a download.
   */
  Map<String, Object> serviceConfig() {
    List<Map<String, String>> names = new ArrayList<>();
    for (MethodDescriptor<?, ?> method :
        List.of(
            ExportServiceGrpc.getPreviewExportMethod(),
            ExportServiceGrpc.getGetExportMethod(),
            ExportServiceGrpc.getListExportsMethod(),
            ExportServiceGrpc.getGetReportMethod(),
            ExportServiceGrpc.getCheckStorageMethod(),
            ExportServiceGrpc.getCreateUploadMethod(),
            ExportServiceGrpc.getGetUploadMethod(),
            ExportServiceGrpc.getCreateDownloadLinkMethod(),
            ExportServiceGrpc.getGetBatchMethod(),
            AutomationServiceGrpc.getListEventsMethod(),
            AutomationServiceGrpc.getRetryEventsMethod(),
            AutomationServiceGrpc.getListTargetsMethod(),
            AutomationServiceGrpc.getTestTargetMethod())) {
      names.add(Map.of("service", method.getServiceName(), "method", method.getBareMethodName()));
    }
    Map<String, Object> retry =
        Map.of(
            "maxAttempts", (double) maxAttempts,
            "initialBackoff", seconds(minDelay),
            "maxBackoff", seconds(maxDelay),
            "backoffMultiplier", 2.0,
            "retryableStatusCodes", List.of("UNAVAILABLE"));
    Map<String, Object> unary =
        Map.of("name", names, "timeout", seconds(deadline), "retryPolicy", retry);
    return Map.of("methodConfig", List.of(unary));
  }

  private static String seconds(Duration duration) {
    return String.format(Locale.ROOT, "%d.%09ds", duration.toSeconds(), duration.toNanosPart());
  }
}
