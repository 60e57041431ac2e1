package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs the README's snippet and the example program. */
class ReadmeIT {
  @TempDir Path folder;

  private String run(List<String> arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(ProcessHandle.current().info().command().orElse("java"));
    command.addAll(List.of("-cp", System.getProperty("java.class.path")));
    command.addAll(arguments);
    Process program =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true).start();
    String output = new String(program.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, program.waitFor(), output);
    return output;
  }

  /** Runs every program as printed, and compares its output with the one that the README says. */
  @Test
  void programsPrintWhatTheReadmeSays() throws Exception {
    String readme = Files.readString(Path.of("README.md"));
    Matcher program =
        Pattern.compile(
                "```java\n(.*?)```\n\nIt prints[^\n]*:\n\n```text\n(.*?)```", Pattern.DOTALL)
            .matcher(readme);
    Authority authority = new Authority(folder.resolve("ca"));
    Authority.Issued leaf = authority.issue("localhost", false);
    String token = "readme-token";
    String digest = Digests.of(Content.of(token.getBytes(StandardCharsets.UTF_8)));
    Path tokens =
        Files.writeString(
            folder.resolve("tokens.json"),
            "{\"tokens\": [{\"name\": \"caller\", \"roles\": [\"admin\"], \"sha256\": \"%s\"}]}"
                .formatted(digest));
    Files.writeString(folder.resolve("token"), token + "\n");
    Files.copy(authority.certificate(), folder.resolve("ca.pem"));
    Files.createSymbolicLink(folder.resolve("examples"), Path.of("../../examples").toRealPath());
    Map<String, String> environment =
        Map.of(
            "AUTH_TOKENS_FILE", tokens.toString(),
            "TLS_CERT_FILE", leaf.certificate().toString(),
            "TLS_KEY_FILE", leaf.key().toString());
    int programs = 0;
    try (Server server = new Server(folder.resolve("data"), Map.of());
        Server secure = new Server(folder.resolve("secure"), environment)) {
      while (program.find()) {
        String text =
            program
                .group(1)
                .replace("http://127.0.0.1:8080", server.url())
                .replace("https://export.example.com", secure.url().replace("http:", "https:"));
        Path source = Files.writeString(folder.resolve("Program" + ++programs + ".java"), text);
        // The java launcher compiles a single source file.
        String printed = run(List.of(source.toString())).strip();
        String said = "\\Q" + program.group(2).strip().replace("…", "\\E.*\\Q") + "\\E";
        assertTrue(printed.matches(said), () -> printed + " instead of " + said);
      }
    }
    assertEquals(readme.split("```java\n", -1).length - 1, programs);
    assertTrue(Files.size(folder.resolve("report.txt")) > 0);
    assertTrue(Files.size(folder.resolve("bundle.zip")) > 0);
  }

  @Test
  void exampleRuns() throws Exception {
    try (Server server = new Server(folder.resolve("data"), Map.of())) {
      Path examples = Path.of("../../examples").toRealPath();
      String request = examples.resolve("request.json").toString();
      String document = examples.resolve("sample-review/guidelines.docx").toString();
      String output = run(List.of("ExportReview", server.url(), request, document));
      assertTrue(output.contains("stored manifest.json"), output);
    }
  }
}
