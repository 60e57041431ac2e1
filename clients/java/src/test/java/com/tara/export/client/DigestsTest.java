package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class DigestsTest {
  @Test
  void requestIdOfContentIsTheSameInEveryClient() {
    String sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assertEquals("ba7816bf-8f01-8fea-8141-40de5dae2223", Digests.uuid(sha256));
  }
}
