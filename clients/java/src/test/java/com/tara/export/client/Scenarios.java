package com.tara.export.client;

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

  record Server(List<Token> tokens, boolean tls, boolean mutualTls) {}

  record Client(
      String token, List<String> tokens, String tokenError, boolean ca, boolean certificate) {}

  record Step(
      String world,
      Export export,
      Get get,
      ListAll list,
      Download download,
      Bundle bundle,
      Expectation expect,
      Expectation until) {}

  record Export(
      String as,
      String requestId,
      JsonNode review,
      List<Document> documents,
      List<String> whenAccepted) {}

  record Get(String of, String name) {}

  record ListAll(String filter, int pageSize) {}

  record Download(String of, String path) {}

  record Bundle(String of) {}

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
      String tokenError) {}

  /** Reads the file. Jackson rejects unknown fields. */
  static Scenarios read() throws IOException {
    return JsonMapper.builder()
        .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
        .build()
        .readValue(Path.of("../scenarios.json").toFile(), Scenarios.class);
  }
}
