package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.tara.export.v1.Artifact;
import com.tara.export.v1.Destination;
import com.tara.export.v1.Document;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.Fallback;
import com.tara.export.v1.FeedbackItem;
import com.tara.export.v1.FeedbackSection;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.Review;
import com.tara.export.v1.StartExportRequest;
import io.grpc.Context;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(120)
class ClientIT {
  private static final int MIB = 1024 * 1024;

  @TempDir Path folder;

  private Server server() throws IOException {
    return new Server(folder.resolve("data"), Map.of());
  }

  private static StartExportRequest.Builder reviewed(String documentName) {
    FeedbackItem item =
        FeedbackItem.newBuilder().setDescription("Die Zeiten haben keine Zone. 時刻").build();
    return StartExportRequest.newBuilder()
        .setRequestId(UUID.randomUUID().toString())
        .setReview(
            Review.newBuilder()
                .setDocumentName(documentName)
                .setReviewer("Ada Lovelace")
                .addSuggestions(FeedbackSection.newBuilder().setName("Überblick").addItems(item)));
  }

  /** Reproducible random bytes. */
  private static byte[] randomBytes(int size) {
    byte[] bytes = new byte[size];
    new Random(7).nextBytes(bytes);
    return bytes;
  }

  /** Exports, and checks that the sequence numbers have no gaps and no repetitions. */
  private static ExportResult export(
      TaraExportClient client, StartExportRequest request, ExportOptions options) {
    Map<String, Long> last = new HashMap<>();
    options.onUpdate(
        update -> {
          if (!(update instanceof ExportUpdate.Event received)) {
            return;
          }
          ExportEvent event = received.event();
          if (event.hasHeartbeat() || event.hasArtifactProgress() || event.getRunId().isEmpty()) {
            return;
          }
          assertEquals(last.getOrDefault(event.getRunId(), 0L) + 1, event.getSequence());
          last.put(event.getRunId(), event.getSequence());
        });
    return client.export(request, options);
  }

  private static Artifact artifact(ExportResult result, String path) {
    return result.export().getArtifactsList().stream()
        .filter(artifact -> artifact.getPath().equals(path))
        .findFirst()
        .orElseThrow();
  }

  private static TaraExportException assertFails(Status.Code code, String reason, Executable call) {
    TaraExportException failure = assertThrows(TaraExportException.class, call);
    assertEquals(reason, failure.reason(), failure.toString());
    assertEquals(code, failure.code(), failure.toString());
    return failure;
  }

  @Test
  void exportFallsBackDuringS3Outage() throws IOException {
    try (Server server = new Server(folder.resolve("data"), Server.outage());
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      ExportResult result = export(client, reviewed("report.docx").build(), new ExportOptions());
      assertTrue(result.fellBack());
      assertEquals(Destination.DESTINATION_LOCAL, result.storedIn());
      StartExportRequest strict =
          reviewed("report.docx").setFallback(Fallback.FALLBACK_NONE).build();
      assertFails(
          Status.Code.UNAVAILABLE,
          "STORE_UNAVAILABLE",
          () -> client.export(strict, new ExportOptions()));
    }
  }

  @Test
  void sameRequestIdCreatesOneBundle() throws IOException {
    try (Server server = server();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      StartExportRequest.Builder request = reviewed("report.docx");
      ExportResult first = export(client, request.build(), new ExportOptions());
      ExportResult again = export(client, request.build(), new ExportOptions());
      assertEquals(first.manifestSha256(), again.manifestSha256());
      request.getReviewBuilder().setReviewer("Grace Hopper");
      TaraExportException failure =
          assertFails(
              Status.Code.ALREADY_EXISTS,
              "REQUEST_ID_REUSED",
              () -> client.export(request.build(), new ExportOptions()));
      assertEquals(first.name(), failure.metadata().get("export"));
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 300, 900, 2000})
  void cutStreamIsResumed(long toClientBytes) throws IOException {
    try (Server server = server();
        CuttingProxy proxy = new CuttingProxy(server.url(), toClientBytes, CuttingProxy.NEVER);
        TaraExportClient client = TaraExportClient.connect(proxy.url())) {
      ExportResult result = export(client, reviewed("report.docx").build(), new ExportOptions());
      assertEquals(1, proxy.cuts());
      assertEquals(Export.State.STATE_COMMITTED, client.getExport(result.name()).getState());
      int bundles = 0;
      for (Export export : client.listExports(ListExportsRequest.getDefaultInstance())) {
        assertEquals(result.name(), export.getName());
        bundles++;
      }
      assertEquals(1, bundles);
    }
  }

  @Test
  void uploadOfLargeDocumentResumesAfterCut() throws Exception {
    byte[] bytes = randomBytes(40 * MIB);
    try (Server server = server();
        CuttingProxy proxy = new CuttingProxy(server.url(), CuttingProxy.NEVER, 30L * MIB);
        TaraExportClient client = TaraExportClient.connect(proxy.url())) {
      AtomicLong done = new AtomicLong();
      AtomicLong resumed = new AtomicLong();
      ExportOptions options =
          new ExportOptions()
              .attach(Document.Kind.KIND_AFTER, "after.pdf", Content.of(bytes))
              .onUpdate(
                  update -> {
                    if (update instanceof ExportUpdate.Uploading upload
                        && done.getAndSet(upload.doneBytes()) > upload.doneBytes()) {
                      resumed.set(upload.doneBytes());
                    }
                  });
      ExportResult result = client.export(reviewed("report.pdf").build(), options);
      assertEquals(1, proxy.cuts());
      assertEquals(bytes.length, done.get());
      assertTrue(resumed.get() > 0, "the upload was not resumed");
      Artifact document = artifact(result, "documents/after_report.pdf");
      assertEquals(Digests.of(Content.of(bytes)), document.getSha256());
    }
  }

  @Test
  void errorsIncludeDetails() throws IOException {
    try (Server server = server();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      TaraExportException failure =
          assertFails(
              Status.Code.INVALID_ARGUMENT,
              "INVALID_REQUEST",
              () -> client.export(StartExportRequest.getDefaultInstance(), new ExportOptions()));
      assertFalse(failure.fieldViolations().isEmpty());
      String unknown = "exports/" + UUID.randomUUID();
      assertFails(Status.Code.NOT_FOUND, "EXPORT_NOT_FOUND", () -> client.getExport(unknown));
      assertFails(
          Status.Code.NOT_FOUND, "EXPORT_NOT_HERE", () -> client.watch(unknown, update -> {}));
    }
  }

  @Test
  void replacedValuesAreListedInTheExport() throws IOException {
    Value number = Value.newBuilder().setNumberValue(9007199254740994.0).build();
    StartExportRequest.Builder request = reviewed("report \ud83d.docx");
    request
        .getReviewBuilder()
        .getSuggestionsBuilder(0)
        .getItemsBuilder(0)
        .setConfidence(Double.NaN)
        .setAdditionalFields(Struct.newBuilder().putFields("ticket", number));
    String section = "suggestions[\"" + request.getReview().getSuggestions(0).getName() + "\"][0]";
    try (Server server = server();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      ExportOptions options =
          new ExportOptions()
              .attach(Document.Kind.KIND_BEFORE, "before \udc00.docx", Content.of(new byte[] {1}));
      String name = client.export(request.build(), options).name();
      assertEquals(
          List.of(
              "document_name NOT_UNICODE",
              section + ".confidence NOT_FINITE",
              section + ".ticket NOT_EXACT",
              "documents[0].file_name NOT_UNICODE"),
          client.getExport(name).getReplacementsList().stream()
              .map(entry -> entry.getPath() + " " + entry.getReason())
              .toList());
    }
  }

  @Test
  void downloadsAreVerifiedAndResumed() throws IOException {
    byte[] bytes = randomBytes(12 * MIB);
    try (Server server = server();
        CuttingProxy proxy = new CuttingProxy(server.url(), 5L * MIB, CuttingProxy.NEVER);
        TaraExportClient client = TaraExportClient.connect(proxy.url())) {
      ExportOptions options =
          new ExportOptions().attach(Document.Kind.KIND_AFTER, "after.pdf", Content.of(bytes));
      ExportResult result = export(client, reviewed("report.pdf").build(), options);
      Path target = folder.resolve("after.pdf");
      client.downloadArtifact(result.name(), "documents/after_report.pdf", target);
      assertEquals(1, proxy.cuts());
      assertArrayEquals(bytes, Files.readAllBytes(target));

      Path archive = folder.resolve("bundle.zip");
      client.downloadBundle(result.name(), archive);
      try (ZipFile zip = new ZipFile(archive.toFile())) {
        // The files, SHA256SUMS and the manifest.
        assertEquals(result.artifactCount() + 2, zip.size());
      }
      String document = result.folderName() + "/documents/after_report.pdf";
      assertArrayEquals(bytes, streamed(archive, document));
      Path empty = Files.createDirectory(folder.resolve("empty"));
      assertFails(
          Status.Code.NOT_FOUND,
          "ARTIFACT_NOT_FOUND",
          () -> client.downloadArtifact(result.name(), "no/such.file", empty.resolve("missing")));
      try (Stream<Path> left = Files.list(empty)) {
        assertEquals(List.of(), left.toList());
      }
    }
  }

  /** Reads a file of a ZIP file that is received as a stream: without its central directory. */
  private static byte[] streamed(Path archive, String name) throws IOException {
    try (ZipInputStream entries = new ZipInputStream(Files.newInputStream(archive))) {
      ZipEntry entry;
      do {
        entry = entries.getNextEntry();
        assertTrue(entry != null, name + " is missing");
      } while (!entry.getName().equals(name));
      return entries.readAllBytes();
    }
  }

  /** Stops the caller's call. */
  private static void stopWaiting(Context.CancellableContext context, boolean byInterrupt) {
    if (byInterrupt) {
      Thread.currentThread().interrupt();
    } else {
      context.cancel(null);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void exportContinuesWithoutCaller(boolean byInterrupt) throws Exception {
    try (Server server = server();
        Context.CancellableContext context = Context.current().withCancellation();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      StartExportRequest request = reviewed("report.docx").build();
      ExportOptions stopping =
          new ExportOptions().onUpdate(update -> stopWaiting(context, byInterrupt));
      assertFails(
          Status.Code.CANCELLED,
          byInterrupt ? TaraExportException.INTERRUPTED : "",
          () -> context.call(() -> client.export(request, stopping)));
      assertEquals(byInterrupt, Thread.interrupted());
      ExportResult result = client.watch("exports/" + request.getRequestId(), update -> {});
      assertEquals(Destination.DESTINATION_LOCAL, result.storedIn());
    }
  }

  @Test
  void listenerExceptionEndsUpload() throws IOException {
    try (Server server = server();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      Content content = Content.of(randomBytes(MIB));
      AtomicLong calls = new AtomicLong();
      assertThrows(
          IllegalStateException.class,
          () ->
              client.upload(
                  content,
                  doneBytes -> {
                    calls.incrementAndGet();
                    throw new IllegalStateException();
                  }));
      assertEquals(1, calls.get());
    }
  }

  @Test
  void unaryCallIsRetried() throws IOException {
    String unknown = "exports/" + UUID.randomUUID();
    try (Server server = server();
        CuttingProxy first = new CuttingProxy(server.url(), 1, CuttingProxy.NEVER);
        TaraExportClient client = TaraExportClient.connect(first.url());
        CuttingProxy second = new CuttingProxy(server.url(), 1, CuttingProxy.NEVER);
        TaraExportClient withoutRetries =
            TaraExportClient.connect(
                second.url(), Policy.DEFAULT, ManagedChannelBuilder::disableRetry)) {
      assertFails(Status.Code.NOT_FOUND, "EXPORT_NOT_FOUND", () -> client.getExport(unknown));
      assertEquals(1, first.cuts());
      // Without the retry policy, the call fails.
      assertFails(Status.Code.UNAVAILABLE, "", () -> withoutRetries.getExport(unknown));
    }
  }

  @Test
  void unaryCallHasDeadline() throws IOException {
    Policy policy = Policy.DEFAULT.withDeadline(Duration.ofMillis(200));
    // Accepts connections, but never responds.
    try (ServerSocket silent = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        TaraExportClient client =
            TaraExportClient.connect(
                "http://127.0.0.1:" + silent.getLocalPort(), policy, builder -> {})) {
      assertFails(Status.Code.DEADLINE_EXCEEDED, "", client::checkStorage);
    }
  }

  @Test
  void exportFailsAfterProgressTimeout() {
    Policy policy = Policy.DEFAULT.withProgressTimeout(Duration.ofMillis(500));
    try (TaraExportClient client =
        TaraExportClient.connect(Server.UNREACHABLE_URL, policy, builder -> {})) {
      assertFails(
          Status.Code.UNAVAILABLE,
          TaraExportException.LOST_CONTACT,
          () -> client.export(reviewed("report.docx").build(), new ExportOptions()));
    }
  }
}
