package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.tara.export.v1.AutomationServiceGrpc;
import com.tara.export.v1.CreateDownloadLinkRequest;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.ListEventsRequest;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.Upload;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.stub.ServerCalls;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** The client against a hostile server: it throws and writes no file. */
class HostileServerTest {
  private static final JsonNode SHARED = shared();
  private static final String EXPORT = SHARED.get("export").asText();
  private static final String PATH = SHARED.get("path").asText();

  @TempDir Path folder;

  private static JsonNode shared() {
    try {
      return new ObjectMapper().readTree(Path.of("../hostile-server.json").toFile());
    } catch (IOException failure) {
      throw new IllegalStateException(failure);
    }
  }

  private static boolean isAccepted(Runnable check) {
    try {
      check.run();
      return true;
    } catch (TaraExportException failure) {
      assertEquals(TaraExportException.UNTRUSTED_RESPONSE, failure.reason());
      return false;
    }
  }

  private static void expect(String key, String value, Optional<String> violation, JsonNode row) {
    assertEquals(row.get(key).asBoolean(), violation.isEmpty(), () -> value + ": " + violation);
  }

  @Test
  void serverNamesAreChecked() {
    for (JsonNode row : SHARED.get("names")) {
      String name = row.get("name").asText();
      expect("in_bundle", name, ServerNames.segmentViolation(name), row);
      expect("on_disk", name, ServerNames.fileNameViolation(name), row);
    }
    for (JsonNode row : SHARED.get("folders")) {
      String name = row.get("name").asText();
      expect("accepted", name, ServerNames.folderViolation(name), row);
    }
    for (JsonNode row : SHARED.get("paths")) {
      String path = row.get("path").asText();
      expect("accepted", path, ServerNames.pathViolation(path), row);
    }
    for (JsonNode row : SHARED.get("links")) {
      String uri = row.get("uri").asText();
      expect("accepted", uri, ServerNames.linkViolation(uri), row);
    }
    for (JsonNode row : SHARED.get("exports")) {
      Export export = Export.newBuilder().setName(row.get("name").asText()).build();
      boolean isAccepted = isAccepted(() -> ServerNames.checkListed(export));
      assertEquals(row.get("accepted").asBoolean(), isAccepted, export.getName());
    }
    for (JsonNode row : SHARED.get("uploads")) {
      Upload upload = Upload.newBuilder().setName(row.get("name").asText()).build();
      boolean isAccepted = isAccepted(() -> ServerNames.checkedUpload(upload, "", 0));
      assertEquals(row.get("accepted").asBoolean(), isAccepted, upload.getName());
    }
    for (JsonNode row : SHARED.get("texts")) {
      String printed = ServerNames.printable(row.get("text").asText());
      assertEquals(row.get("printed").asText(), printed);
    }
  }

  @TestFactory
  Stream<DynamicTest> hostileResponsesAreRejected() {
    return StreamSupport.stream(SHARED.get("cases").spliterator(), false)
        .map(
            row -> {
              String name = row.get("method").asText() + ": " + row.get("about").asText();
              return DynamicTest.dynamicTest(name, () -> assertRejected(row));
            });
  }

  private void assertRejected(JsonNode row) throws IOException {
    String method = row.get("method").asText();
    Path target = folder.resolve("file");
    try (HostileServer server = new HostileServer(method, row.get("responses"));
        TaraExportClient client = server.client()) {
      TaraExportException failure =
          assertThrows(TaraExportException.class, () -> call(client, method, target));
      for (JsonNode text : row.get("error_contains")) {
        String message = failure.getMessage();
        assertTrue(message.contains(text.asText()), () -> text + " is missing in " + message);
      }
      assertEquals(ServerNames.printable(failure.toString()), failure.toString());
    }
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(), files.toList());
    }
  }

  private static void call(TaraExportClient client, String method, Path target) {
    switch (method) {
      case "GetExport" -> client.getExport(EXPORT);
      case "ListExports" ->
          client.listExports(ListExportsRequest.getDefaultInstance()).forEach(export -> {});
      case "ListEvents" ->
          client.listEvents(ListEventsRequest.getDefaultInstance()).forEach(event -> {});
      case "WatchExport" -> client.watch(EXPORT, update -> {});
      case "DownloadArtifact" -> client.downloadArtifact(EXPORT, PATH, target);
      case "DownloadBundle" -> client.downloadBundle(EXPORT, target);
      case "CreateDownloadLink" ->
          client.createDownloadLink(
              CreateDownloadLinkRequest.newBuilder().setName(EXPORT).setPath(PATH).build());
      case "CreateUpload" -> {
        byte[] document = SHARED.get("document").asText().getBytes(StandardCharsets.UTF_8);
        client.upload(Content.of(document), sent -> {});
      }
      default -> throw new IllegalArgumentException(method);
    }
  }

  @Test
  void linkAtTargetIsReplacedNotFollowed() throws IOException {
    Path outside = folder.resolve("outside");
    Path target = Files.createSymbolicLink(folder.resolve("file"), outside);
    String sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    String responses =
        """
        [{"artifact": {"path": "%s", "sizeBytes": "3", "sha256": "%s"}}, {"data": "YWJj"}]
        """
            .formatted(PATH, sha256);
    try (HostileServer server =
            new HostileServer("DownloadArtifact", new ObjectMapper().readTree(responses));
        TaraExportClient client = server.client()) {
      client.downloadArtifact(EXPORT, PATH, target);
    }
    assertEquals("abc", Files.readString(target));
    assertFalse(Files.exists(outside));
  }

  @Test
  void stackTraceContainsNoControlCharactersOfServer() {
    String hostile = "\u001b[2J\u009b31m\u202e";
    Status status = Status.NOT_FOUND.withDescription(hostile);
    StringWriter printed = new StringWriter();
    TaraExportException.from(status.asRuntimeException(), "server")
        .printStackTrace(new PrintWriter(printed));
    assertTrue(printed.toString().contains("\\u{1b}[2J\\u{9b}31m\\u{202e}"), printed.toString());
    assertFalse(hostile.chars().limit(1).anyMatch(each -> printed.toString().indexOf(each) >= 0));
  }

  /** A fake server whose method responds with these messages. */
  private static final class HostileServer implements AutoCloseable {
    private final Server server;

    HostileServer(String method, JsonNode responses) throws IOException {
      MethodDescriptor<?, ?> called =
          Stream.of(
                  ExportServiceGrpc.getServiceDescriptor(),
                  AutomationServiceGrpc.getServiceDescriptor())
              .flatMap(service -> service.getMethods().stream())
              .filter(each -> method.equals(each.getBareMethodName()))
              .findFirst()
              .orElseThrow();
      ServerServiceDefinition.Builder definition =
          ServerServiceDefinition.builder(called.getServiceName());
      add(definition, called, responses);
      server =
          Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
              .addService(definition.build())
              .build()
              .start();
    }

    private static <Q, A> void add(
        ServerServiceDefinition.Builder definition,
        MethodDescriptor<Q, A> method,
        JsonNode responses)
        throws IOException {
      MethodDescriptor.PrototypeMarshaller<A> marshaller =
          (MethodDescriptor.PrototypeMarshaller<A>) method.getResponseMarshaller();
      List<A> messages = new ArrayList<>();
      for (JsonNode response : responses) {
        Message.Builder message = ((Message) marshaller.getMessagePrototype()).newBuilderForType();
        JsonFormat.parser().merge(response.toString(), message);
        messages.add(marshaller.getMessageClass().cast(message.build()));
      }
      boolean isStream = method.getType() == MethodDescriptor.MethodType.SERVER_STREAMING;
      definition.addMethod(
          // Without the schema descriptor, the builder does not require the whole service.
          method.toBuilder().setSchemaDescriptor(null).build(),
          isStream
              ? ServerCalls.asyncServerStreamingCall(
                  (request, observer) -> {
                    messages.forEach(observer::onNext);
                    observer.onCompleted();
                  })
              : ServerCalls.asyncUnaryCall(
                  (request, observer) -> {
                    observer.onNext(messages.get(0));
                    observer.onCompleted();
                  }));
    }

    TaraExportClient client() {
      return TaraExportClient.connect("http://127.0.0.1:" + server.getPort());
    }

    @Override
    public void close() {
      server.shutdownNow();
    }
  }
}
