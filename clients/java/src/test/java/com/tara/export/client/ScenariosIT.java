package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.google.protobuf.util.JsonFormat;
import com.tara.export.v1.Document;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.StartExportRequest;
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
        getUntil(step.get(), step.until());
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
      } else if (step.get() != null) {
        Export export = client.getExport(name(step.get()));
        assertEquals(List.of(), differences(export, expect), step::toString);
      } else if (step.list() != null) {
        list(step.list(), expect.exports());
      } else if (step.download() != null) {
        download(step.download(), expect);
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

    private void getUntil(Scenarios.Get step, Scenarios.Expectation until) {
      // The state is in another process, so it must be polled.
      Instant end = Instant.now().plus(Duration.ofMinutes(1));
      List<String> differences;
      do {
        LockSupport.parkNanos(POLL_INTERVAL.toNanos());
        differences = differences(client.getExport(name(step)), until);
      } while (!differences.isEmpty() && Instant.now().isBefore(end));
      assertEquals(List.of(), differences);
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
