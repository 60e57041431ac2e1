package com.tara.export.client;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;

/** Bytes of a known size that can be read repeatedly. */
public interface Content {
  /** Size of the content. */
  long sizeBytes();

  /** Returns exactly {@code length} bytes from {@code start}. The range is within the size. */
  byte[] read(long start, int length) throws IOException;

  /** Content in memory. */
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

  /**
   * Content of a plain file, or of the file to which a link leads.
   *
   * @throws IOException if the path is a folder, pipe, socket or device, or cannot be read; when
   *     reading, also if the file changed its size
   */
  static Content of(Path path) throws IOException {
    return FileContent.open(path);
  }
}
