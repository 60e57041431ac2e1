package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.Timeout;

/** Responses of proxies and of other programs: none is a lost connection. */
@Timeout(120)
class LocalErrorsTest {
  @TestFactory
  Stream<DynamicTest> responsesOfProxiesAreReported() {
    return StreamSupport.stream(LocalErrors.rows("http").spliterator(), false)
        .filter(
            row -> !row.has("protocols") || row.get("protocols").toString().contains("\"grpc\""))
        .map(row -> DynamicTest.dynamicTest(row.get("about").asText(), () -> check(row)));
  }

  private static void check(JsonNode row) throws Exception {
    ConnectOptions options = new ConnectOptions().policy(LocalErrors.impatient());
    try (RowServer server = new RowServer(row);
        TaraExportClient client = TaraExportClient.connect(server.url(), options)) {
      assertThrows(TaraExportException.class, () -> client.watch(LocalErrors.EXPORT, update -> {}));
      boolean isRetried = row.get("retried").asBoolean();
      int requests = server.requests();
      assertTrue(isRetried ? requests > 1 : requests < 5, () -> requests + " requests");
      LocalErrors.check(client, row);
    }
  }
}
