package com.tara.export.client;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * How patiently calls are made, and lost ones taken up again.
 *
 * @param patience how long to go on without news of an export or headway of a transfer
 * @param silence how long a stream may say nothing before it counts as lost; servers send a
 *     heartbeat at least every 15 s
 * @param minDelay the first wait before another attempt; each further one is about twice as long
 * @param maxDelay the longest such wait
 * @param deadline how long a call with one answer may take, its repetitions included
 * @param maxAttempts how often such a call is sent at most while the answer is UNAVAILABLE; 2 to 5
 */
public record Policy(
    Duration patience,
    Duration silence,
    Duration minDelay,
    Duration maxDelay,
    Duration deadline,
    int maxAttempts) {

  /** What a client has when nobody asks for another. */
  public static final Policy DEFAULT =
      new Policy(
          Duration.ofMinutes(2),
          Duration.ofSeconds(45),
          Duration.ofMillis(200),
          Duration.ofSeconds(10),
          Duration.ofSeconds(30),
          // grpc-java connects again a second after a connection broke in its beginning, and fails
          // calls until then: fewer attempts could all come too early.
          5);

  /**
   * The slowest line that is waited for: what is sent may take a second more for each of these
   * bytes.
   */
  private static final int SLOWEST_BYTES_PER_SECOND = 32 * 1024;

  /** Checks what grpc-java would refuse later. */
  public Policy {
    if (minDelay.isNegative() || minDelay.isZero() || maxAttempts < 2 || maxAttempts > 5) {
      throw new IllegalArgumentException("a policy needs a minDelay and 2 to 5 maxAttempts");
    }
  }

  /** This policy with another patience. */
  public Policy withPatience(Duration patience) {
    return new Policy(patience, silence, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** This policy with another limit for silent streams. */
  public Policy withSilence(Duration silence) {
    return new Policy(patience, silence, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** This policy with other waits between attempts. */
  public Policy withDelays(Duration minDelay, Duration maxDelay) {
    return new Policy(patience, silence, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** This policy with another deadline for calls with one answer. */
  public Policy withDeadline(Duration deadline) {
    return new Policy(patience, silence, minDelay, maxDelay, deadline, maxAttempts);
  }

  /** This policy with another number of attempts for such calls. */
  public Policy withMaxAttempts(int maxAttempts) {
    return new Policy(patience, silence, minDelay, maxDelay, deadline, maxAttempts);
  }

  static Duration sendingTime(long sizeBytes) {
    return Duration.ofSeconds(sizeBytes / SLOWEST_BYTES_PER_SECOND);
  }

  /**
   * The policy in the form that grpc-java follows by itself. Streams are not in it: a client that
   * repeated them would begin an upload or a download anew.
   */
  Map<String, Object> serviceConfig() {
    List<Map<String, String>> names = new ArrayList<>();
    for (String method :
        List.of(
            "PreviewExport",
            "GetExport",
            "ListExports",
            "GetReport",
            "CheckStorage",
            "CreateUpload",
            "GetUpload",
            "CreateDownloadLink")) {
      names.add(Map.of("service", "tara.export.v1.ExportService", "method", method));
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
