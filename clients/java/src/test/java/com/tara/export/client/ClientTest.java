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
import java.util.zip.ZipFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(120)
class ClientTest {
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

  /** The same for every run. */
  private static byte[] randomBytes(int size) {
    byte[] bytes = new byte[size];
    new Random(7).nextBytes(bytes);
    return bytes;
  }

  /** Exports, and checks that events come gapless and once. */
  private static ExportResult export(
      TaraExportClient client, StartExportRequest request, ExportOptions options) {
    Map<String, Long> last = new HashMap<>();
    options.onUpdate(
        update -> {
          if (!(update instanceof ExportUpdate.Told told)) {
            return;
          }
          ExportEvent event = told.event();
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
  void whatS3CantTakeFallsBack() throws IOException {
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
  void theSameIdMakesOneBundle() throws IOException {
    try (Server server = server();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      StartExportRequest.Builder request = reviewed("report.docx");
      ExportResult first = export(client, request.build(), new ExportOptions());
      ExportResult again = export(client, request.build(), new ExportOptions());
      assertEquals(first.manifestSha256(), again.manifestSha256());
      request.getReviewBuilder().setReviewer("Somebody else");
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
  void aCutStreamIsWatched(long toClientBytes) throws IOException {
    try (Server server = server();
        Cutter cutter = new Cutter(server.url(), toClientBytes, Cutter.NEVER);
        TaraExportClient client = TaraExportClient.connect(cutter.url())) {
      ExportResult result = export(client, reviewed("report.docx").build(), new ExportOptions());
      assertEquals(1, cutter.cuts());
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
  void largeDocumentsGoAheadAndOnAfterACut() throws Exception {
    byte[] bytes = randomBytes(40 * MIB);
    try (Server server = server();
        Cutter cutter = new Cutter(server.url(), Cutter.NEVER, 30L * MIB);
        TaraExportClient client = TaraExportClient.connect(cutter.url())) {
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
      assertEquals(1, cutter.cuts());
      assertEquals(bytes.length, done.get());
      assertTrue(resumed.get() > 0, "it was begun anew");
      Artifact document = artifact(result, "documents/after_report.pdf");
      assertEquals(Digests.of(Content.of(bytes)), document.getSha256());
    }
  }

  @Test
  void errorsHaveTheirDetails() throws IOException {
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
  void numbersThatWouldBeRoundedAreRefused() {
    Value number = Value.newBuilder().setNumberValue(9007199254740993.0).build();
    StartExportRequest.Builder request = reviewed("report.docx");
    request
        .getReviewBuilder()
        .getSuggestionsBuilder(0)
        .getItemsBuilder(0)
        .setAdditionalFields(Struct.newBuilder().putFields("ticket", number));
    try (TaraExportClient client = TaraExportClient.connect(Server.NOWHERE)) {
      TaraExportException failure =
          assertFails(
              Status.Code.INVALID_ARGUMENT,
              TaraExportException.NOT_EXACT,
              () -> client.export(request.build(), new ExportOptions()));
      String field = failure.fieldViolations().get(0).field();
      assertEquals("review.suggestions[0].items[0].additional_fields.ticket", field);
    }
  }

  @Test
  void downloadsAreChecked() throws IOException {
    byte[] bytes = randomBytes(12 * MIB);
    try (Server server = server();
        Cutter cutter = new Cutter(server.url(), 5L * MIB, Cutter.NEVER);
        TaraExportClient client = TaraExportClient.connect(cutter.url())) {
      ExportOptions options =
          new ExportOptions().attach(Document.Kind.KIND_AFTER, "after.pdf", Content.of(bytes));
      ExportResult result = export(client, reviewed("report.pdf").build(), options);
      Path target = folder.resolve("after.pdf");
      client.downloadArtifact(result.name(), "documents/after_report.pdf", target);
      assertEquals(1, cutter.cuts());
      assertArrayEquals(bytes, Files.readAllBytes(target));

      Path archive = folder.resolve("bundle.zip");
      client.downloadBundle(result.name(), archive);
      try (ZipFile zip = new ZipFile(archive.toFile())) {
        assertEquals(result.artifactCount() + 1, zip.size());
      }
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

  /** How a caller stops waiting. */
  private static void leave(Context.CancellableContext context, boolean byInterrupt) {
    if (byInterrupt) {
      Thread.currentThread().interrupt();
    } else {
      context.cancel(null);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void anExportGoesOnWithoutItsCaller(boolean byInterrupt) throws Exception {
    try (Server server = server();
        Context.CancellableContext context = Context.current().withCancellation();
        TaraExportClient client = TaraExportClient.connect(server.url())) {
      StartExportRequest request = reviewed("report.docx").build();
      ExportOptions leaving = new ExportOptions().onUpdate(update -> leave(context, byInterrupt));
      assertFails(
          Status.Code.CANCELLED,
          byInterrupt ? TaraExportException.INTERRUPTED : "",
          () -> context.call(() -> client.export(request, leaving)));
      assertEquals(byInterrupt, Thread.interrupted());
      ExportResult result = client.watch("exports/" + request.getRequestId(), update -> {});
      assertEquals(Destination.DESTINATION_LOCAL, result.storedIn());
    }
  }

  @Test
  void whatAListenerThrowsEndsAnUpload() throws IOException {
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
  void aCallWithOneAnswerIsSentAgain() throws IOException {
    String unknown = "exports/" + UUID.randomUUID();
    try (Server server = server();
        Cutter first = new Cutter(server.url(), 1, Cutter.NEVER);
        TaraExportClient client = TaraExportClient.connect(first.url());
        Cutter second = new Cutter(server.url(), 1, Cutter.NEVER);
        TaraExportClient impatient =
            TaraExportClient.connect(
                second.url(), Policy.DEFAULT, ManagedChannelBuilder::disableRetry)) {
      assertFails(Status.Code.NOT_FOUND, "EXPORT_NOT_FOUND", () -> client.getExport(unknown));
      assertEquals(1, first.cuts());
      // That it was the policy's doing:
      assertFails(Status.Code.UNAVAILABLE, "", () -> impatient.getExport(unknown));
    }
  }

  @Test
  void aCallWithOneAnswerHasADeadline() throws IOException {
    Policy policy = Policy.DEFAULT.withDeadline(Duration.ofMillis(200));
    // It takes connections, and never says a word.
    try (ServerSocket silent = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        TaraExportClient client =
            TaraExportClient.connect(
                "http://127.0.0.1:" + silent.getLocalPort(), policy, builder -> {})) {
      assertFails(Status.Code.DEADLINE_EXCEEDED, "", client::checkStorage);
    }
  }

  @Test
  void patienceEnds() {
    Policy policy = Policy.DEFAULT.withPatience(Duration.ofMillis(500));
    try (TaraExportClient client =
        TaraExportClient.connect(Server.NOWHERE, policy, builder -> {})) {
      assertFails(
          Status.Code.UNAVAILABLE,
          TaraExportException.LOST_CONTACT,
          () -> client.export(reviewed("report.docx").build(), new ExportOptions()));
    }
  }
}
