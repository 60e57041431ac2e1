package com.tara.export.client;

import com.google.protobuf.Struct;
import com.google.protobuf.util.JsonFormat;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** The built server, killed when the test ends. */
final class Server implements AutoCloseable {
  private final Process process;
  private final String url;

  Server(Path dataDir, Map<String, String> environment) throws IOException {
    String binary = Programs.path("TARA_EXPORT_BINARY", "tara-export");
    ProcessBuilder builder =
        new ProcessBuilder(binary, "serve", "--port", "0", "--log-format", "json");
    builder.environment().clear();
    builder.environment().put("DATA_DIR", dataDir.toString());
    builder.environment().putAll(environment);
    builder.redirectOutput(ProcessBuilder.Redirect.DISCARD);
    process = builder.start();
    BufferedReader logs = process.errorReader();
    Struct.Builder start = Struct.newBuilder();
    while (!start.containsFields("address")) {
      String line = logs.readLine();
      if (line == null) {
        throw new IOException("the server exited before it was ready");
      }
      JsonFormat.parser().merge(line, start.clear());
    }
    url = "http://" + start.getFieldsOrThrow("address").getStringValue();
    // Read the log so that the pipe does not fill up.
    Thread logReader = new Thread(() -> logs.lines().forEach(line -> {}));
    logReader.setDaemon(true);
    logReader.start();
  }

  /** A URL without a listener. A reserved port, because a free ephemeral port could be assigned. */
  static final String UNREACHABLE_URL = "http://127.0.0.1:1";

  /** The environment of a server whose S3 is unreachable. */
  static Map<String, String> outage() {
    return Map.of(
        "S3_BUCKET_NAME", "audit",
        "S3_RETRY_BUDGET", "100ms",
        "AWS_ENDPOINT_URL", UNREACHABLE_URL,
        "S3_PATH_STYLE", "true",
        "AWS_REGION", "eu-central-1",
        "AWS_ACCESS_KEY_ID", "test",
        "AWS_SECRET_ACCESS_KEY", "test");
  }

  String url() {
    return url;
  }

  @Override
  public void close() {
    process.destroyForcibly().onExit().join();
  }
}
