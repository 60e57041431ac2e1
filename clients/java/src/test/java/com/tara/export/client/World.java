package com.tara.export.client;

import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.util.Map;

/** The program test-world: a server with an S3 and proxies. It ends with the test. */
final class World implements AutoCloseable {
  private final Process process;
  private final BufferedWriter commands;
  private final BufferedReader responses;
  private final String url;

  World(Map<String, String> environment, boolean isTls) throws IOException {
    String binary = Programs.path("TEST_WORLD_BINARY", "test-world");
    ProcessBuilder builder = new ProcessBuilder(binary);
    builder.environment().putAll(environment);
    process = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
    commands = process.outputWriter();
    responses = process.inputReader();
    url =
        (isTls ? "https://" : "http://")
            + new JsonMapper().readTree(readResponse()).required("grpc").textValue();
  }

  /** URL of the proxy that can cut connections. */
  String url() {
    return url;
  }

  void send(String command) throws IOException {
    commands.write(command);
    commands.newLine();
    commands.flush();
    String response = readResponse();
    if (!response.equals("ok")) {
      throw new IOException(command + ": " + response);
    }
  }

  private String readResponse() throws IOException {
    String line = responses.readLine();
    if (line == null) {
      throw new IOException("test-world has exited");
    }
    return line;
  }

  @Override
  public void close() throws IOException {
    // Closing standard input ends test-world and everything that it started.
    commands.close();
    process.onExit().join();
  }
}
