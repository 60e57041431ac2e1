package com.tara.export.client;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;

/** The program test-world: a server with an S3 and ways to it. It ends with the test. */
final class World implements AutoCloseable {
  private final Process process;
  private final BufferedWriter commands;
  private final BufferedReader answers;
  private final String url;

  World() throws IOException {
    String binary =
        System.getenv().getOrDefault("TEST_WORLD_BINARY", "../../target/debug/test-world");
    process = new ProcessBuilder(binary).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    commands = process.outputWriter();
    answers = process.inputReader();
    url = "http://" + new JsonMapper().readTree(answer()).required("grpc").textValue();
  }

  /** The way to the server that can be cut. */
  String url() {
    return url;
  }

  void tell(String command) throws IOException {
    commands.write(command);
    commands.newLine();
    commands.flush();
    String answer = answer();
    if (!answer.equals("ok")) {
      throw new IOException(command + ": " + answer);
    }
  }

  private String answer() throws IOException {
    String line = answers.readLine();
    if (line == null) {
      throw new IOException("the world has ended");
    }
    return line;
  }

  @Override
  public void close() throws IOException {
    // That ends it, and everything it started.
    commands.close();
    process.onExit().join();
  }
}
