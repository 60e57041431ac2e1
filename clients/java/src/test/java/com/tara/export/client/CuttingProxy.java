package com.tara.export.client;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.URI;

/** A proxy that cuts the connection after a number of bytes. */
final class CuttingProxy implements AutoCloseable {
  /** No cut in this direction. */
  static final long NEVER = Long.MAX_VALUE;

  private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
  private final URI server;
  private long toClientBytes;
  private long toServerBytes;
  private int cuts;

  CuttingProxy(String server, long toClientBytes, long toServerBytes) throws IOException {
    this.server = URI.create(server);
    this.toClientBytes = toClientBytes;
    this.toServerBytes = toServerBytes;
    start(this::accept);
  }

  String url() {
    return "http://127.0.0.1:" + listener.getLocalPort();
  }

  synchronized int cuts() {
    return cuts;
  }

  private static void start(Runnable work) {
    Thread thread = new Thread(work);
    thread.setDaemon(true);
    thread.start();
  }

  private void accept() {
    try {
      while (true) {
        Socket client = listener.accept();
        Socket upstream = new Socket(server.getHost(), server.getPort());
        // Otherwise small frames, such as those that open a window of HTTP/2, wait for others.
        client.setTcpNoDelay(true);
        upstream.setTcpNoDelay(true);
        start(() -> pass(client, upstream, true));
        start(() -> pass(upstream, client, false));
      }
    } catch (IOException closed) {
      // The test has ended.
    }
  }

  private void pass(Socket from, Socket to, boolean isToServer) {
    // A proxy that cuts closes both sides at once.
    try (from;
        to) {
      InputStream input = from.getInputStream();
      OutputStream output = to.getOutputStream();
      byte[] buffer = new byte[16 * 1024];
      for (int read = input.read(buffer); read >= 0; read = input.read(buffer)) {
        int allowed = allow(read, isToServer);
        output.write(buffer, 0, allowed);
        if (allowed < read) {
          return;
        }
      }
    } catch (IOException ended) {
      // The other direction was cut.
    }
  }

  private synchronized int allow(int bytes, boolean isToServer) {
    long left = isToServer ? toServerBytes : toClientBytes;
    boolean isCut = left != NEVER && bytes >= left;
    long next = left == NEVER || isCut ? NEVER : left - bytes;
    if (isToServer) {
      toServerBytes = next;
    } else {
      toClientBytes = next;
    }
    if (!isCut) {
      return bytes;
    }
    cuts++;
    return (int) Math.min(left, bytes - 1L);
  }

  @Override
  public void close() throws IOException {
    listener.close();
  }
}
