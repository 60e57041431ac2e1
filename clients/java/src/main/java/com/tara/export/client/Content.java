package com.tara.export.client;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Bytes of a known size that can be read again. */
public interface Content {
  /** How many there are. */
  long sizeBytes();

  /** Exactly {@code length} bytes from {@code start} on, which are not beyond the size. */
  byte[] read(long start, int length) throws IOException;

  /** Bytes in memory. */
  static Content of(byte[] bytes) {
    return new Content() {
      @Override
      public long sizeBytes() {
        return bytes.length;
      }

      @Override
      public byte[] read(long start, int length) {
        return Arrays.copyOfRange(bytes, Math.toIntExact(start), Math.toIntExact(start + length));
      }
    };
  }

  /** A file. */
  static Content of(Path path) throws IOException {
    long sizeBytes = Files.size(path);
    return new Content() {
      @Override
      public long sizeBytes() {
        return sizeBytes;
      }

      @Override
      public byte[] read(long start, int length) throws IOException {
        ByteBuffer piece = ByteBuffer.allocate(length);
        try (FileChannel file = FileChannel.open(path)) {
          while (piece.hasRemaining()) {
            if (file.read(piece, start + piece.position()) < 0) {
              throw new EOFException(path + " became shorter while it was read");
            }
          }
        }
        return piece.array();
      }
    };
  }
}
