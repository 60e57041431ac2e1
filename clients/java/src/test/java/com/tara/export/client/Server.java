package com.tara.export.client;

import com.google.protobuf.Struct;
import com.google.protobuf.util.JsonFormat;
import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** The server's real binary, killed when the test ends. */
final class Server implements AutoCloseable {
  private final Process process;
  private final String url;

  Server(Path dataDir, Map<String, String> environment) throws IOException {
    String binary =
        System.getenv().getOrDefault("TARA_EXPORT_BINARY", "../../target/debug/tara-export");
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
        throw new IOException("the server ended before it listened");
      }
      JsonFormat.parser().merge(line, start.clear());
    }
    url = "http://" + start.getFieldsOrThrow("address").getStringValue();
    // The pipe must not fill up while the server runs.
    Thread drain = new Thread(() -> logs.lines().forEach(line -> {}));
    drain.setDaemon(true);
    drain.start();
  }

  /** Nobody listens there, and a port that the system gave away would not stay so. */
  static final String NOWHERE = "http://127.0.0.1:1";

  /** The environment of a server whose S3 nobody answers for. */
  static Map<String, String> outage() {
    return Map.of(
        "S3_BUCKET_NAME", "audit",
        "S3_RETRY_BUDGET", "100ms",
        "AWS_ENDPOINT_URL", NOWHERE,
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
