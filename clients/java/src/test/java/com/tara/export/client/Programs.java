package com.tara.export.client;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.nio.file.Files;
import java.nio.file.Path;

/** The programs of the Rust workspace that the tests start. */
final class Programs {
  private Programs() {}

  /**
   * Returns the path in the environment variable, or the path of the debug build.
   *
   * <p>Skips the test if the variable is not set and the program is not built, because the client
   * can be built without Rust.
   */
  static String path(String variable, String name) {
    String path = System.getenv(variable);
    if (path != null) {
      return path;
    }
    Path built = Path.of("../../target/debug", name);
    assumeTrue(
        Files.exists(built),
        () -> built + " does not exist: run `cargo build --workspace --bins` or set " + variable);
    return built.toString();
  }
}
