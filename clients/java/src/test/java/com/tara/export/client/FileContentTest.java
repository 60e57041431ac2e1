package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Documents from files. */
@Timeout(60)
final class FileContentTest {
  private static final int MIB = 1024 * 1024;

  @TempDir Path folder;

  @Test
  void onlyPlainFilesAreDocuments() throws Exception {
    Path pipe = folder.resolve("pipe");
    assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
    Path dangling = Files.createSymbolicLink(folder.resolve("dangling"), folder.resolve("gone"));
    Map<Path, String> refused =
        Map.of(
            folder,
            "a folder",
            pipe,
            "a pipe",
            Path.of("/dev/null"),
            "device",
            dangling,
            "dangling");
    for (Map.Entry<Path, String> entry : refused.entrySet()) {
      IOException error = assertThrows(IOException.class, () -> Content.of(entry.getKey()));
      assertTrue(error.getMessage().contains(entry.getValue()), error::getMessage);
    }
    Path file = Files.writeString(folder.resolve("file"), "content");
    Path link = Files.createSymbolicLink(folder.resolve("link"), file);
    assertArrayEquals("content".getBytes(), Content.of(link).read(0, 7));
  }

  @Test
  void bytesAreCountedAndNotTakenFromTheReportedSize() throws IOException {
    Path cpus = Path.of("/proc/cpuinfo");
    assertEquals(0, Files.size(cpus));
    Content content = Content.of(cpus);
    String text = new String(content.read(0, Math.toIntExact(content.sizeBytes())));
    assertTrue(text.contains("processor"), text);
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 1})
  void fileThatChangesItsSizeIsAnError(int change) throws IOException {
    Path file = Files.write(folder.resolve("file"), new byte[2 * MIB]);
    Content content = Content.of(file);
    assertEquals(MIB, content.read(0, MIB).length);
    Files.write(file, new byte[2 * MIB + change]);
    IOException error = assertThrows(IOException.class, () -> content.read(MIB, MIB));
    assertTrue(error.getMessage().contains("changed from"), error::getMessage);
  }
}
