package com.tara.export.client;

import java.nio.file.Files;
import java.nio.file.Path;

/** The programs of the Rust workspace that the integration tests start. */
final class Programs {
  private Programs() {}

  /** Returns the path in the environment variable, or the path of the debug build. */
  static String path(String variable, String name) {
    String path = System.getenv(variable);
    if (path != null) {
      return path;
    }
    Path built = Path.of("../../target/debug", name);
    if (!Files.exists(built)) {
      throw new IllegalStateException(
          built + " does not exist: run `cargo build --workspace --bins` or set " + variable);
    }
    return built.toString();
  }
}
