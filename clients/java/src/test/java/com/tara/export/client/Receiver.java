package com.tara.export.client;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;

/** An HTTP server that accepts every event of a server's notifications. */
final class Receiver implements AutoCloseable {
  private final HttpServer server;

  Receiver() throws IOException {
    server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
    server.createContext(
        "/",
        exchange -> {
          try (exchange) {
            exchange.getRequestBody().transferTo(OutputStream.nullOutputStream());
            exchange.sendResponseHeaders(204, -1);
          }
        });
    server.start();
  }

  /** Writes a NOTIFY_FILE, in which RECEIVER stands for this server, and its secret. */
  Path notifyFile(Path folder, JsonNode content) throws IOException {
    Files.writeString(
        folder.resolve("secret"), "whsec_" + Base64.getEncoder().encodeToString(new byte[32]));
    String address = "127.0.0.1:" + server.getAddress().getPort();
    String text = content.toString().replace("RECEIVER", address);
    return Files.writeString(folder.resolve("notify.json"), text);
  }

  @Override
  public void close() {
    server.stop(0);
  }
}
