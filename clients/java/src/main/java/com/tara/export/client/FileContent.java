package com.tara.export.client;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;

/** A large plain file, which is read in pieces. */
final class FileContent implements Content {
  /**
   * Files up to this size are read at once: the system may report another size than the file has,
   * such as 0 for files of {@code /proc}.
   */
  private static final int SMALL_BYTES = 1024 * 1024;

  /** The most that a file may have that reports at most {@link #SMALL_BYTES}. */
  private static final int MAX_SMALL_BYTES = 64 * 1024 * 1024;

  private final Path path;
  private final long sizeBytes;

  private FileContent(Path path, long sizeBytes) {
    this.path = path;
    this.sizeBytes = sizeBytes;
  }

  static Content open(Path path) throws IOException {
    // Not opened before: a pipe can wait for its writer, and a device can have an effect.
    BasicFileAttributes attributes = Files.readAttributes(path, BasicFileAttributes.class);
    if (!attributes.isRegularFile()) {
      String kind = attributes.isDirectory() ? "a folder" : "a pipe, socket or device";
      throw new IOException(
          path + ": it is " + kind + ", not a plain file; copy its content to a file first");
    }
    if (attributes.size() > SMALL_BYTES) {
      return new FileContent(path, attributes.size());
    }
    try (InputStream file = Files.newInputStream(path)) {
      byte[] bytes = file.readNBytes(MAX_SMALL_BYTES + 1);
      if (bytes.length > MAX_SMALL_BYTES) {
        throw new IOException(path + ": it has more than " + MAX_SMALL_BYTES + " bytes");
      }
      return Content.of(bytes);
    }
  }

  @Override
  public long sizeBytes() {
    return sizeBytes;
  }

  @Override
  public byte[] read(long start, int length) throws IOException {
    ByteBuffer piece = ByteBuffer.allocate(length);
    try (FileChannel file = FileChannel.open(path)) {
      while (piece.hasRemaining() && file.read(piece, start + piece.position()) >= 0) {}
      long size = file.size();
      if (size != sizeBytes || piece.hasRemaining()) {
        String change = "it changed from " + sizeBytes + " to " + size + " bytes while it was read";
        throw new IOException(path + ": " + change + "; send it again when it is complete");
      }
    }
    return piece.array();
  }
}
