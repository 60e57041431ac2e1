package com.tara.export.client;

import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;

/** SHA-256, in 64 lower-case hexadecimal digits. */
final class Digests {
  private Digests() {}

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException impossible) {
      // The Java specification requires SHA-256.
      throw new IllegalStateException(impossible);
    }
  }

  static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  static String of(Content content) throws IOException {
    MessageDigest digest = sha256();
    for (long start = 0; start < content.sizeBytes(); start += UploadStream.PIECE_BYTES) {
      int length = (int) Math.min(UploadStream.PIECE_BYTES, content.sizeBytes() - start);
      digest.update(content.read(start, length));
    }
    return hex(digest);
  }

  /** Derives a UUID from a digest (RFC 9562, version 8). */
  static String uuid(String sha256) {
    return String.join(
        "-",
        sha256.substring(0, 8),
        sha256.substring(8, 12),
        "8" + sha256.substring(13, 16),
        "8" + sha256.substring(17, 20),
        sha256.substring(20, 32));
  }
}
