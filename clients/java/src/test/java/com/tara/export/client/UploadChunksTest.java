package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tara.export.v1.Upload;
import org.junit.jupiter.api.Test;

class UploadChunksTest {
  private static final int MIB = 1024 * 1024;

  @Test
  void invalidRangesOfChunksAreIgnored() {
    int largest = 8 * MIB;
    for (int smallest : new int[] {1, MIB / 2, largest}) {
      assertTrue(UploadChunks.areAccepted(announced(smallest, largest)), () -> "" + smallest);
    }
    for (int smallest : new int[] {Integer.MIN_VALUE, -1, 0, largest + 1}) {
      assertFalse(UploadChunks.areAccepted(announced(smallest, largest)), () -> "" + smallest);
    }
    // The client would read a chunk of any size into memory.
    assertFalse(UploadChunks.areAccepted(announced(Integer.MAX_VALUE, Integer.MAX_VALUE)));
  }

  private static Upload announced(int smallest, int largest) {
    return Upload.newBuilder().setMinChunkSizeBytes(smallest).setChunkSizeBytes(largest).build();
  }
}
