package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.google.protobuf.ByteString;
import com.google.protobuf.util.JsonFormat;
import com.tara.export.v1.Batch;
import com.tara.export.v1.BatchStartExportsRequest;
import com.tara.export.v1.Document;
import com.tara.export.v1.Event;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.ListEventsRequest;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.RetryEventsRequest;
import com.tara.export.v1.RetryEventsResponse;
import com.tara.export.v1.StartExportRequest;
import com.tara.export.v1.Target;
import com.tara.export.v1.TestTargetResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Named;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Runs the scenarios that every client must pass, over native gRPC. */
@Timeout(180)
class ScenariosIT {
  private static final Duration POLL_INTERVAL = Duration.ofMillis(50);

  @TempDir Path folder;

  private Receiver receiver;

  @BeforeEach
  void startReceiver() throws IOException {
    receiver = new Receiver();
  }

  @AfterEach
  void stopReceiver() {
    receiver.close();
  }

  static Stream<Named<Scenarios.Scenario>> scenarios() throws IOException {
    return Scenarios.read().scenarios().stream().map(each -> Named.of(each.name(), each));
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("scenarios")
  void scenarioPasses(Scenarios.Scenario scenario) throws Exception {
    ConnectOptions options = new ConnectOptions();
    Map<String, String> environment = new HashMap<>();
    Scenarios.Server server = scenario.server();
    boolean isTls = server != null && (server.tls() || server.mutualTls());
    if (server != null && server.notifyFile() != null) {
      environment.put("NOTIFY_FILE", receiver.notifyFile(folder, server.notifyFile()).toString());
    }
    if (server != null && server.tokens() != null) {
      environment.put("AUTH_TOKENS_FILE", tokensFile(server.tokens()).toString());
    }
    if (isTls) {
      Authority authority = new Authority(folder.resolve("ca"));
      Authority.Issued leaf = authority.issue("localhost", false);
      environment.put("TLS_CERT_FILE", leaf.certificate().toString());
      environment.put("TLS_KEY_FILE", leaf.key().toString());
      if (server.mutualTls()) {
        environment.put("TLS_CLIENT_CA_FILE", authority.certificate().toString());
      }
      if (scenario.client().ca()) {
        options.certificateAuthorities(authority.certificate());
      }
      if (scenario.client().certificate()) {
        Authority.Issued own = authority.issue("client", false);
        options.clientCertificate(own.certificate(), own.key());
      }
    }
    if (server != null && server.notifyRecipients() != null) {
      environment.put("NOTIFY_RECIPIENTS", server.notifyRecipients());
    }
    List<String> secrets = configureToken(scenario.client(), options);
    try (World world = new World(environment, isTls);
        TaraExportClient client = TaraExportClient.connect(world.url(), options)) {
      checkSecrets(secrets, options.toString() + client);
      ScenarioRunner runner =
          new ScenarioRunner(world, client, Scenarios.read().request(), folder, secrets);
      for (Scenarios.Step step : scenario.steps()) {
        runner.run(step);
      }
    }
  }

  private Path tokensFile(List<Scenarios.Token> tokens) throws IOException {
    List<Map<String, Object>> entries = new ArrayList<>();
    for (Scenarios.Token token : tokens) {
      byte[] text = token.token().getBytes(StandardCharsets.UTF_8);
      entries.add(
          Map.of(
              "name",
              "caller" + entries.size(),
              "roles",
              token.roles(),
              "sha256",
              Digests.of(Content.of(text))));
    }
    String text = new JsonMapper().writeValueAsString(Map.of("tokens", entries));
    return Files.writeString(folder.resolve("tokens.json"), text);
  }

  /** Sets the token of a scenario, and returns the texts that must not be in any output. */
  private static List<String> configureToken(Scenarios.Client client, ConnectOptions options) {
    if (client == null) {
      return List.of();
    }
    if (client.token() != null) {
      options.token(client.token());
      return List.of(client.token());
    }
    if (client.tokens() != null) {
      AtomicInteger calls = new AtomicInteger();
      options.tokenSource(
          () -> client.tokens().get(Math.min(calls.getAndIncrement(), client.tokens().size() - 1)));
      return client.tokens();
    }
    if (client.tokenError() != null) {
      options.tokenSource(
          () -> {
            throw new IOException(client.tokenError());
          });
    }
    return List.of();
  }

  private static void checkSecrets(List<String> secrets, String text) {
    for (String secret : secrets) {
      assertFalse(text.contains(secret), () -> "a token is in " + text);
    }
  }

  /** Runs the steps of one scenario. */
  private static final class ScenarioRunner {
    private final World world;
    private final TaraExportClient client;
    private final Scenarios.Content defaults;
    private final Path folder;
    private final List<String> secrets;
    private final Map<String, Export> exports = new HashMap<>();

    ScenarioRunner(
        World world,
        TaraExportClient client,
        Scenarios.Content defaults,
        Path folder,
        List<String> secrets) {
      this.secrets = secrets;
      this.world = world;
      this.client = client;
      this.defaults = defaults;
      this.folder = folder;
    }

    void run(Scenarios.Step step) throws IOException {
      if (step.world() != null) {
        world.send(step.world());
      } else if (step.until() != null) {
        succeedUntil(step);
      } else if (step.expect().tokenError() != null) {
        TaraExportException failure =
            assertThrows(
                TaraExportException.class, () -> succeed(step, step.expect()), step::toString);
        assertTrue(failure.getMessage().contains(step.expect().tokenError()), failure::toString);
      } else if (step.expect().code() == null) {
        succeed(step, step.expect());
      } else {
        TaraExportException failure =
            assertThrows(
                TaraExportException.class, () -> succeed(step, step.expect()), step::toString);
        StringWriter printed = new StringWriter();
        failure.printStackTrace(new PrintWriter(printed));
        checkSecrets(secrets, failure + printed.toString());
        checkFailure(failure, step.expect());
      }
    }

    private void succeed(Scenarios.Step step, Scenarios.Expectation expect) throws IOException {
      if (step.export() != null) {
        export(step.export(), expect);
      } else if (step.batch() != null) {
        batch(step.batch(), expect);
      } else if (step.get() != null) {
        Export export = client.getExport(name(step.get()));
        assertEquals(List.of(), differences(export, expect), step::toString);
      } else if (step.list() != null) {
        list(step.list(), expect.exports());
      } else if (step.download() != null) {
        download(step.download(), expect);
      } else if (step.targets() != null) {
        List<Target> targets = client.listTargets().getTargetsList();
        assertEquals(expect.targets(), targets.stream().map(Target::getName).toList());
      } else if (step.testTarget() != null) {
        TestTargetResponse response = client.testTarget(step.testTarget().target());
        assertEquals(expect.delivered(), response.getDelivered(), response::getMessage);
      } else if (step.events() != null) {
        assertEquals(expect.events(), events(step.events()));
      } else if (step.retryEvents() != null) {
        retryEvents(step.retryEvents(), expect);
      } else if (step.bundle() != null) {
        Path target = folder.resolve("bundle.zip");
        client.downloadBundle(exports.get(step.bundle().of()).getName(), target);
        try (ZipFile archive = new ZipFile(target.toFile())) {
          assertEquals(expect.files(), archive.size());
          assertEquals(archive.size(), streamedFiles(target));
        }
      } else {
        fail("unknown step: " + step);
      }
    }

    private void export(Scenarios.Export step, Scenarios.Expectation expect) throws IOException {
      Map<String, Long> lastByRun = new HashMap<>();
      List<String> fellBack = new ArrayList<>();
      // A later run repeats the accepted event; send the commands only once.
      List<String> commands =
          new ArrayList<>(step.whenAccepted() == null ? List.of() : step.whenAccepted());
      ExportOptions options =
          new ExportOptions()
              .onUpdate(
                  update -> {
                    if (!(update instanceof ExportUpdate.Event received)) {
                      return;
                    }
                    ExportEvent event = received.event();
                    if (event.hasFellBack()) {
                      fellBack.add(event.getFellBack().getReason());
                    }
                    if (event.hasAccepted()) {
                      commands.forEach(this::send);
                      commands.clear();
                    }
                    checkOrder(event, lastByRun);
                  });
      ExportResult result = client.export(request(step, options), options);
      exports.put(step.as(), result.export());
      assertEquals(List.of(), differences(result.export(), expect), step::toString);
      assertEquals(expect.fellBack() == null ? List.of() : List.of(expect.fellBack()), fellBack);
      assertEquals(List.of(), commands, "the export was not accepted");
    }

    private void batch(Scenarios.Batch step, Scenarios.Expectation expect) throws IOException {
      BatchStartExportsRequest.Builder request = BatchStartExportsRequest.newBuilder();
      if (step.batchId() != null) {
        request.setBatchId(step.batchId());
      }
      for (Scenarios.BatchItem item : step.items()) {
        StartExportRequest.Builder one = request.addRequestsBuilder();
        String review = (item.review() == null ? defaults.review() : item.review()).toString();
        JsonFormat.parser().merge(review, one.getReviewBuilder());
        if (item.requestId() != null) {
          one.setRequestId(item.requestId());
        }
        for (Scenarios.Document document : defaults.documents()) {
          one.addDocumentsBuilder()
              .setKind(Document.Kind.valueOf(document.kind()))
              .setFileName(document.fileName())
              .setContent(ByteString.copyFromUtf8(document.text()));
        }
      }
      List<Integer> indexes = new ArrayList<>();
      Batch batch = client.exportBatch(request.build(), item -> indexes.add(item.getIndex()));
      assertEquals(step.items().size(), indexes.stream().distinct().count());
      assertEquals(step.items().size(), indexes.size());
      assertEquals(expect.committed(), batch.getCounts().getCommitted());
      assertEquals(expect.refused(), batch.getCounts().getRefused());
    }

    private void send(String command) {
      try {
        world.send(command);
      } catch (IOException failure) {
        throw new UncheckedIOException(failure);
      }
    }

    private static void checkOrder(ExportEvent event, Map<String, Long> lastByRun) {
      String run = event.getRunId();
      if (run.isEmpty() || event.hasHeartbeat() || event.hasArtifactProgress()) {
        return;
      }
      assertTrue(event.getSequence() > lastByRun.getOrDefault(run, 0L), event::toString);
      lastByRun.put(run, event.getSequence());
    }

    private StartExportRequest request(Scenarios.Export step, ExportOptions options)
        throws IOException {
      StartExportRequest.Builder request = StartExportRequest.newBuilder();
      String review = (step.review() == null ? defaults.review() : step.review()).toString();
      JsonFormat.parser().merge(review, request.getReviewBuilder());
      if (step.requestId() != null) {
        request.setRequestId(step.requestId());
      }
      if (step.notifyEmails() != null) {
        request.addAllNotifyEmails(step.notifyEmails());
      }
      for (Scenarios.Document document :
          step.documents() == null ? defaults.documents() : step.documents()) {
        Document.Kind kind = Document.Kind.valueOf(document.kind());
        if (document.sizeBytes() == null) {
          byte[] text = document.text().getBytes(StandardCharsets.UTF_8);
          options.attach(kind, document.fileName(), Content.of(text));
        } else {
          Path file = folder.resolve(document.fileName());
          options.attach(kind, Files.write(file, patterned(document.sizeBytes())));
        }
      }
      return request.build();
    }

    private void succeedUntil(Scenarios.Step step) throws IOException {
      // The state is in another process, so it must be polled.
      Instant end = Instant.now().plus(Duration.ofMinutes(1));
      while (true) {
        try {
          succeed(step, step.until());
          return;
        } catch (AssertionError difference) {
          if (Instant.now().isAfter(end)) {
            throw difference;
          }
          LockSupport.parkNanos(POLL_INTERVAL.toNanos());
        }
      }
    }

    /** Returns the exports of the events, by the names that the steps use. */
    private List<String> events(Scenarios.Events step) {
      ListEventsRequest.Builder request =
          ListEventsRequest.newBuilder().setPageSize(step.pageSize());
      if (step.state() != null) {
        request.setState(Event.State.valueOf(step.state()));
      }
      if (step.target() != null) {
        request.setTarget(step.target());
      }
      Map<String, String> keys = new HashMap<>();
      exports.forEach((key, export) -> keys.put(export.getName(), key));
      List<String> found = new ArrayList<>();
      for (Event event : client.listEvents(request.build())) {
        found.add(keys.getOrDefault(event.getExport(), event.getExport()));
      }
      return found;
    }

    private void retryEvents(Scenarios.RetryEvents step, Scenarios.Expectation expect) {
      RetryEventsRequest.Builder request =
          RetryEventsRequest.newBuilder().setAllDead(step.allDead());
      if (step.eventIds() != null) {
        request.addAllEventIds(step.eventIds());
      }
      RetryEventsResponse response = client.retryEvents(request.build());
      assertEquals(expect.eventCount(), response.getEventCount());
      assertEquals(expect.missingEventIds(), response.getMissingEventIdsList());
    }

    private String name(Scenarios.Get step) {
      return step.name() == null ? exports.get(step.of()).getName() : step.name();
    }

    private void list(Scenarios.ListAll step, List<String> expected) {
      ListExportsRequest request =
          ListExportsRequest.newBuilder()
              .setFilter(step.filter())
              .setPageSize(step.pageSize())
              .build();
      List<String> names = new ArrayList<>();
      client.listExports(request).forEach(export -> names.add(export.getName()));
      assertEquals(expected.stream().map(as -> exports.get(as).getName()).toList(), names);
    }

    private void download(Scenarios.Download step, Scenarios.Expectation expect)
        throws IOException {
      Path target = folder.resolve("file");
      client.downloadArtifact(exports.get(step.of()).getName(), step.path(), target);
      String sha256 =
          expect.sha256() == null
              ? Digests.of(Content.of(patterned(expect.sha256OfSizeBytes())))
              : expect.sha256();
      assertEquals(sha256, Digests.of(Content.of(target)));
    }

    private static void checkFailure(TaraExportException failure, Scenarios.Expectation expect) {
      assertEquals(expect.code(), failure.code().name(), failure::toString);
      assertEquals(expect.reason(), failure.reason(), failure::toString);
      if (expect.fields() != null) {
        assertEquals(
            expect.fields(),
            failure.fieldViolations().stream().map(FieldViolation::field).toList());
      }
    }

    private List<String> differences(Export export, Scenarios.Expectation expect) {
      List<String> found = new ArrayList<>();
      compare(found, "state", expect.state(), export.getState().name());
      compare(found, "stored in", expect.storedIn(), export.getStoredIn().name());
      compare(found, "artifact count", expect.artifactCount(), export.getArtifactCount());
      compare(found, "document name", expect.documentName(), export.getDocumentName());
      compare(found, "reviewer", expect.reviewer(), export.getReviewer());
      if (expect.sameAs() != null) {
        Export same = exports.get(expect.sameAs());
        compare(found, "name", same.getName(), export.getName());
        compare(found, "manifest", same.getManifestSha256(), export.getManifestSha256());
      }
      return found;
    }

    private static void compare(List<String> found, String label, Object expected, Object actual) {
      if (expected != null && !expected.equals(actual)) {
        found.add("%s is %s instead of %s".formatted(label, actual, expected));
      }
    }

    /** Reads the archive as programs do that receive it without storing it. */
    private static int streamedFiles(Path archive) throws IOException {
      int files = 0;
      try (ZipInputStream entries = new ZipInputStream(Files.newInputStream(archive))) {
        while (entries.getNextEntry() != null) {
          entries.transferTo(OutputStream.nullOutputStream());
          files++;
        }
      }
      return files;
    }

    /** Returns document content of that size, the same in the tests of every client. */
    private static byte[] patterned(int sizeBytes) {
      byte[] content = new byte[sizeBytes];
      for (int index = 0; index < sizeBytes; index++) {
        content[index] = (byte) (index * 31L % 251);
      }
      return content;
    }
  }
}
