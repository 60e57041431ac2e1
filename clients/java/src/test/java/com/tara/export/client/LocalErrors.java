package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.tara.export.v1.StartExportRequest;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import org.junit.jupiter.api.function.Executable;

/** Checks of errors that are not a lost connection. */
final class LocalErrors {
  static final String EXPORT = "exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";

  private LocalErrors() {}

  /** Reads rows of hostile-server.json. */
  static JsonNode rows(String key) {
    try {
      return new JsonMapper().readTree(Path.of("../hostile-server.json").toFile()).required(key);
    } catch (IOException failure) {
      throw new IllegalStateException(failure);
    }
  }

  /** Reports lost contact after some retries, so that a test shows the last error. */
  static Policy impatient() {
    return Policy.DEFAULT
        .withProgressTimeout(Duration.ofSeconds(2))
        .withDelays(Duration.ofMillis(50), Duration.ofSeconds(1));
  }

  /** Watches an export, and makes calls of the other kinds, and checks their errors. */
  static void check(TaraExportClient client, JsonNode row) {
    String reason =
        row.get("retried").asBoolean()
            ? TaraExportException.LOST_CONTACT
            : row.get("reason").asText();
    check(row, reason, () -> client.watch(EXPORT, update -> {}));
    if (row.get("retried").asBoolean()) {
      return;
    }
    byte[] document = "content".getBytes(StandardCharsets.UTF_8);
    for (Executable call :
        List.<Executable>of(
            () -> client.export(StartExportRequest.getDefaultInstance(), new ExportOptions()),
            () -> client.upload(Content.of(document), done -> {}),
            () -> client.downloadArtifact(EXPORT, "a.txt", OutputStream.nullOutputStream()),
            client::checkStorage)) {
      check(row, reason, call);
    }
  }

  private static void check(JsonNode row, String reason, Executable call) {
    Instant start = Instant.now();
    TaraExportException failure = assertThrows(TaraExportException.class, call);
    assertEquals(reason, failure.reason(), failure::toString);
    if (reason.equals(TaraExportException.HTTP_ERROR)) {
      assertEquals(row.get("status").asText(), failure.metadata().get("http_status"));
    }
    for (JsonNode text : row.get("error_contains")) {
      assertTrue(
          failure.getMessage().contains(text.asText()),
          () -> text + " is missing in " + failure.getMessage());
    }
    Duration waited = Duration.between(start, Instant.now());
    assertTrue(waited.toSeconds() < 10, () -> "reported after " + waited);
    assertTrue(failure.getMessage().length() < 2000, failure::getMessage);
  }
}
