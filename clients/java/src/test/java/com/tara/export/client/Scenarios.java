package com.tara.export.client;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/**
 * The contents of clients/scenarios.json; clients/README.md defines the format. Absent fields are
 * null.
 */
record Scenarios(Content request, List<Scenario> scenarios) {
  /** The default content of exports. */
  record Content(JsonNode review, List<Document> documents) {}

  record Document(String kind, String fileName, String text, Integer sizeBytes) {}

  record Scenario(String name, Server server, Client client, List<Step> steps) {}

  record Token(String token, List<String> roles) {}

  record Server(
      List<Token> tokens,
      boolean tls,
      boolean mutualTls,
      // `notify` is not a valid name of a record component.
      @JsonProperty("notify") JsonNode notifyFile,
      String notifyRecipients) {}

  record Client(
      String token, List<String> tokens, String tokenError, boolean ca, boolean certificate) {}

  record Step(
      String world,
      Export export,
      Batch batch,
      Get get,
      ListAll list,
      Download download,
      Bundle bundle,
      JsonNode targets,
      TestTarget testTarget,
      Events events,
      RetryEvents retryEvents,
      Expectation expect,
      Expectation until) {}

  record Export(
      String as,
      String requestId,
      JsonNode review,
      List<Document> documents,
      List<String> notifyEmails,
      List<String> whenAccepted) {}

  record BatchItem(String requestId, JsonNode review) {}

  record Batch(String batchId, List<BatchItem> items) {}

  record Get(String of, String name) {}

  record ListAll(String filter, int pageSize) {}

  record Download(String of, String path) {}

  record Bundle(String of) {}

  record TestTarget(String target) {}

  record Events(String state, String target, int pageSize) {}

  record RetryEvents(boolean allDead, List<String> eventIds) {}

  record Expectation(
      String state,
      String storedIn,
      Integer artifactCount,
      String documentName,
      String reviewer,
      String fellBack,
      String sameAs,
      List<String> exports,
      String sha256,
      Integer sha256OfSizeBytes,
      Integer files,
      String code,
      String reason,
      List<String> fields,
      String tokenError,
      List<String> targets,
      Boolean delivered,
      List<String> events,
      Long eventCount,
      List<String> missingEventIds,
      Integer committed,
      Integer refused) {}

  /** Reads the file. Jackson rejects unknown fields. */
  static Scenarios read() throws IOException {
    return JsonMapper.builder()
        .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
        .build()
        .readValue(Path.of("../scenarios.json").toFile(), Scenarios.class);
  }
}
