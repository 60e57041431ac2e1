package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.tara.export.v1.Review;
import com.tara.export.v1.StartExportRequest;
import io.grpc.Status;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** Addresses, certificates and tokens, against the real server. */
@Timeout(120)
class ConnectionsIT {
  @TempDir Path folder;

  private final AtomicInteger servers = new AtomicInteger();

  private Server server(Map<String, String> environment) throws Exception {
    return new Server(folder.resolve("data" + servers.incrementAndGet()), environment);
  }

  private static StartExportRequest request() {
    return StartExportRequest.newBuilder()
        .setReview(Review.newBuilder().setDocumentName("report.docx").setReviewer("Ada Lovelace"))
        .build();
  }

  @TestFactory
  Stream<DynamicTest> failedConnectionsAreReported() {
    return StreamSupport.stream(LocalErrors.rows("connections").spliterator(), false)
        .map(row -> DynamicTest.dynamicTest(row.get("about").asText(), () -> check(row)));
  }

  private void check(JsonNode row) throws Exception {
    Authority authority = new Authority(folder.resolve("ca" + servers.get()));
    String certificate = row.path("certificate").asText();
    Authority.Issued leaf =
        authority.issue(
            certificate.equals("other name") ? "other.example" : "localhost",
            certificate.equals("expired"));
    Map<String, String> tls = new HashMap<>();
    String kind = row.get("server").asText();
    if (kind.endsWith("tls")) {
      tls.put("TLS_CERT_FILE", leaf.certificate().toString());
      tls.put("TLS_KEY_FILE", leaf.key().toString());
    }
    if (kind.equals("mutual tls")) {
      tls.put("TLS_CLIENT_CA_FILE", authority.certificate().toString());
    }
    ConnectOptions options = new ConnectOptions().policy(LocalErrors.impatient());
    if (row.path("client").toString().contains("\"ca\"")) {
      options.certificateAuthorities(authority.certificate());
    }
    try (Server server = server(tls)) {
      String address =
          switch (kind) {
            case "none" -> row.get("address").asText();
            case "closed port" -> Server.UNREACHABLE_URL.substring("http://".length());
            default -> server.url().substring("http://".length());
          };
      try (TaraExportClient client =
          TaraExportClient.connect(row.get("scheme").asText() + "://" + address, options)) {
        LocalErrors.check(client, row);
      }
    }
  }

  @Test
  void foreignClientCertificateIsReported() throws Exception {
    Authority authority = new Authority(folder.resolve("ca"));
    Authority.Issued leaf = authority.issue("localhost", false);
    Authority.Issued foreign = new Authority(folder.resolve("other")).issue("client", false);
    Map<String, String> environment =
        Map.of(
            "TLS_CERT_FILE", leaf.certificate().toString(),
            "TLS_KEY_FILE", leaf.key().toString(),
            "TLS_CLIENT_CA_FILE", authority.certificate().toString());
    ConnectOptions options =
        new ConnectOptions()
            .policy(LocalErrors.impatient())
            .certificateAuthorities(authority.certificate())
            .clientCertificate(foreign.certificate(), foreign.key());
    JsonNode row =
        JsonNodeFactory.instance
            .objectNode()
            .put("retried", false)
            .put("reason", "TLS_FAILED")
            .set("error_contains", JsonNodeFactory.instance.arrayNode().add("clientCertificate"));
    try (Server server = server(environment);
        TaraExportClient client =
            TaraExportClient.connect(server.url().replace("http://", "https://"), options)) {
      LocalErrors.check(client, row);
    }
  }

  @Test
  void failedTokenSourceEndsTheCall() throws Exception {
    Exception failed = new Exception("the vault is sealed");
    AtomicInteger calls = new AtomicInteger();
    ConnectOptions options =
        new ConnectOptions()
            .tokenSource(
                () -> {
                  calls.incrementAndGet();
                  throw failed;
                });
    try (Server server = server(Map.of());
        TaraExportClient client = TaraExportClient.connect(server.url(), options)) {
      for (Executable call :
          List.<Executable>of(
              () -> client.export(request(), new ExportOptions()),
              () -> client.upload(Content.of(new byte[10]), done -> {}),
              client::checkStorage)) {
        TaraExportException failure = assertThrows(TaraExportException.class, call);
        assertEquals(TaraExportException.TOKEN_UNAVAILABLE, failure.reason());
        assertEquals(Status.Code.UNAUTHENTICATED, failure.code());
        assertTrue(failure.getMessage().contains("the vault is sealed"), failure.getMessage());
        assertSame(failed, failure.getCause());
      }
      assertEquals(3, calls.get());
    }
  }

  @Test
  void addressesOfEveryKindAreAccepted() throws Exception {
    try (Server server = server(Map.of("ALLOWED_HOSTS", "*"));
        Server sixth = server(Map.of("BIND_ADDRESS", "::1"))) {
      String port = server.url().substring(server.url().lastIndexOf(':'));
      for (String address :
          List.of(
              server.url(),
              server.url() + "/",
              "127.0.0.1" + port,
              "http://localhost" + port,
              "http://export_server" + port,
              "export_server" + port,
              "dns:///127.0.0.1" + port,
              "dns:///export_server" + port,
              sixth.url(),
              sixth.url().replace("http://", "dns:///"))) {
        try (TaraExportClient client = TaraExportClient.connect(address)) {
          assertFalse(client.checkStorage().isEmpty(), address);
        }
      }
    }
  }

  @Test
  void unixSocketIsAccepted() throws Exception {
    Path parent = Files.createTempDirectory("socket");
    Path socket = parent.resolve("s");
    try (Server server = server(Map.of());
        ServerSocketChannel listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
      listener.bind(UnixDomainSocketAddress.of(socket));
      Thread proxy = new Thread(() -> forward(listener, server.url()));
      proxy.setDaemon(true);
      proxy.start();
      for (String address : List.of("unix:" + socket, "unix://" + socket)) {
        try (TaraExportClient client =
            TaraExportClient.connect(
                address, new ConnectOptions().policy(LocalErrors.impatient()))) {
          assertFalse(client.checkStorage().isEmpty());
        }
      }
    } finally {
      Files.deleteIfExists(socket);
      Files.delete(parent);
    }
  }

  /** Forwards connections of the socket to the server, which listens on TCP. */
  private static void forward(ServerSocketChannel listener, String server) {
    String[] hostAndPort = server.substring("http://".length()).split(":");
    try {
      while (true) {
        SocketChannel client = listener.accept();
        SocketChannel upstream =
            SocketChannel.open(
                new InetSocketAddress(hostAndPort[0], Integer.parseInt(hostAndPort[1])));
        copy(client, upstream);
        copy(upstream, client);
      }
    } catch (IOException closed) {
      // The test has ended.
    }
  }

  private static void copy(SocketChannel from, SocketChannel to) {
    Thread copying =
        new Thread(
            () -> {
              try (from;
                  to) {
                ByteBuffer buffer = ByteBuffer.allocate(16 * 1024);
                while (from.read(buffer) >= 0) {
                  buffer.flip();
                  while (buffer.hasRemaining()) {
                    to.write(buffer);
                  }
                  buffer.clear();
                }
              } catch (IOException ended) {
                // The other direction has ended.
              }
            });
    copying.setDaemon(true);
    copying.start();
  }
}
