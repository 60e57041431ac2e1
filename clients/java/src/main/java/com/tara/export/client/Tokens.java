package com.tara.export.client;

import io.grpc.Status;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** The tokens of a client. */
final class Tokens {
  /** Limit for a token. Servers and proxies accept less in a header. */
  static final int MAX_BYTES = 16 * 1024;

  private final TokenSource source;

  /** Whether the token is always the same, so that another call of the source cannot help. */
  private final boolean isFixed;

  private Tokens(TokenSource source, boolean isFixed) {
    this.source = source;
    this.isFixed = isFixed;
  }

  static Tokens fixed(String token) {
    String header = header(token);
    return new Tokens(() -> header, true);
  }

  static Tokens of(TokenSource source) {
    return new Tokens(() -> header(source.token()), false);
  }

  static Tokens file(Path file) {
    return of(() -> read(file));
  }

  private static String read(Path file) throws IOException {
    try (InputStream input = Files.newInputStream(file)) {
      byte[] content = input.readNBytes(MAX_BYTES + 1);
      if (content.length > MAX_BYTES) {
        throw new IOException(file + ": a token file has at most " + MAX_BYTES + " bytes");
      }
      return new String(content, StandardCharsets.UTF_8);
    }
  }

  /** Returns the value of the header. The exceptions do not contain the token. */
  private static String header(String text) {
    String token = text == null ? "" : text.strip();
    if (token.isEmpty()) {
      throw new IllegalArgumentException("the token is empty");
    }
    if (token.length() > MAX_BYTES) {
      throw new IllegalArgumentException(
          "the token has %d characters; the limit is %d".formatted(token.length(), MAX_BYTES));
    }
    for (int index = 0; index < token.length(); index++) {
      if (token.charAt(index) <= ' ' || token.charAt(index) > '~') {
        throw new IllegalArgumentException(
            "character %d of the token is not visible ASCII".formatted(index + 1));
      }
    }
    return "Bearer " + token;
  }

  /** Returns the header of a call. */
  String request() {
    try {
      return source.token();
    } catch (InterruptedException interrupted) {
      throw TaraExportException.interrupted(interrupted);
    } catch (Exception failure) {
      throw TaraExportException.of(
              Status.Code.UNAUTHENTICATED,
              TaraExportException.TOKEN_UNAVAILABLE,
              "cannot get the token: " + failure.getMessage())
          .causedBy(failure);
    }
  }

  /** Returns another header after a rejection of this one, or null if there is no other. */
  String replacement(String rejected) {
    if (isFixed) {
      return null;
    }
    String other = request();
    return other.equals(rejected) ? null : other;
  }

  boolean isFixed() {
    return isFixed;
  }
}
