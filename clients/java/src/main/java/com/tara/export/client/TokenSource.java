package com.tara.export.client;

/**
 * Returns the bearer token of a call. The client calls it before every call, from several threads
 * at once, and once more if the server rejects the token. It caches the token itself if requesting
 * one is slow.
 */
@FunctionalInterface
public interface TokenSource {
  /**
   * Returns the token: at most 16 KiB of visible ASCII characters. White space around it is
   * ignored.
   *
   * @throws Exception if there is no token; the call then fails with this cause, without retries
   */
  String token() throws Exception;
}
