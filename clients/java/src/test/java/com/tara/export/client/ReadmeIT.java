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

  @Test
  void snippetRuns() throws Exception {
    Matcher snippet =
        Pattern.compile("```java\n(.*?)```", Pattern.DOTALL)
            .matcher(Files.readString(Path.of("README.md")));
    assertTrue(snippet.find());
    try (Server server = new Server(folder.resolve("data"), Map.of())) {
      String examples = Path.of("../../examples").toRealPath().toString();
      String program =
          snippet
              .group(1)
              .replace("http://127.0.0.1:8080", server.url())
              .replace("\"examples/", "\"" + examples + "/");
      Path source = Files.writeString(folder.resolve("Snippet.java"), program);
      // The java launcher compiles a single source file.
      String output = run(List.of(source.toString()));
      assertTrue(output.contains("Incident report.docx"), output);
      assertTrue(Files.size(folder.resolve("report.txt")) > 0);
      assertTrue(Files.size(folder.resolve("bundle.zip")) > 0);
    }
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
