package com.tara.export.client;

import com.tara.export.v1.Artifact;
import com.tara.export.v1.Batch;
import com.tara.export.v1.BatchItem;
import com.tara.export.v1.BatchStartExportsRequest;
import com.tara.export.v1.BundleArchive;
import com.tara.export.v1.CheckStorageRequest;
import com.tara.export.v1.CreateDownloadLinkRequest;
import com.tara.export.v1.CreateDownloadLinkResponse;
import com.tara.export.v1.Event;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.Failed;
import com.tara.export.v1.GetBatchRequest;
import com.tara.export.v1.GetExportRequest;
import com.tara.export.v1.GetReportRequest;
import com.tara.export.v1.GetReportResponse;
import com.tara.export.v1.ListEventsRequest;
import com.tara.export.v1.ListEventsResponse;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.ListExportsResponse;
import com.tara.export.v1.ListTargetsRequest;
import com.tara.export.v1.ListTargetsResponse;
import com.tara.export.v1.PreviewExportRequest;
import com.tara.export.v1.PreviewExportResponse;
import com.tara.export.v1.RetryEventsRequest;
import com.tara.export.v1.RetryEventsResponse;
import com.tara.export.v1.StartExportRequest;
import com.tara.export.v1.StorageCheck;
import com.tara.export.v1.TestTargetRequest;
import com.tara.export.v1.TestTargetResponse;
import io.grpc.Grpc;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/**
 * A client of a tara-export server, over native gRPC. It is thread-safe. Every method throws {@link
 * TaraExportException} on failure.
 */
public final class TaraExportClient implements AutoCloseable {
  /** A silently dead connection is detected after twice this time. */
  private static final int KEEPALIVE_SECONDS = 20;

  private final Connection connection;

  private TaraExportClient(Connection connection) {
    this.connection = connection;
  }

  /** Creates a client of the server at an address such as http://127.0.0.1:8080. */
  public static TaraExportClient connect(String server) {
    return connect(server, new ConnectOptions());
  }

  /**
   * Creates a client with a policy and with changes to the channel, such as interceptors. It
   * connects on the first call, and reconnects automatically.
   */
  public static TaraExportClient connect(
      String server, Policy policy, Consumer<ManagedChannelBuilder<?>> changes) {
    return connect(server, new ConnectOptions().policy(policy).channel(changes));
  }

  /**
   * Creates a client with a token, certificates and other options. It connects on the first call,
   * and reconnects automatically.
   *
   * <p>The address is a URL (http://127.0.0.1:8080, https://export.example.com), a host with an
   * optional port, which is the same with http://, or another target of grpc-java
   * (dns:///host:port; on Linux unix:/path).
   *
   * @throws IllegalArgumentException if the address or the certificates cannot be used, or an
   *     option does not fit the address, such as a token without TLS
   */
  public static TaraExportClient connect(String server, ConnectOptions options) {
    ServerAddress address = ServerAddress.parse(server);
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilder(address.target(), options.credentials(address))
            .defaultServiceConfig(options.policy().serviceConfig())
            .maxInboundMessageSize(Connection.MAX_MESSAGE_BYTES)
            .maxInboundMetadataSize(Connection.MAX_HEADER_BYTES)
            .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
            .keepAliveTimeout(KEEPALIVE_SECONDS, TimeUnit.SECONDS);
    if (address.authority() != null) {
      builder.overrideAuthority(address.authority());
    }
    options.changes().accept(builder);
    return new TaraExportClient(
        new Connection(builder.build(), options.policy(), options.tokens(), server));
  }

  /**
   * Exports a review, follows the export until it ends, and returns the bundle, even if it fell
   * back to the server's disk. Large documents are uploaded automatically before the request.
   *
   * <p>If the request has no id, one is generated. The same id never creates a second bundle. The
   * call reconnects after lost connections and server restarts, and delivers no event of a run
   * twice.
   *
   * <p>The call waits until the export ends. To limit the time, call it in an {@link
   * io.grpc.Context} with a deadline or interrupt the thread; an accepted export continues.
   */
  public ExportResult export(StartExportRequest request, ExportOptions options) {
    StartExportRequest prepared =
        translatingErrors(() -> new Requests(connection, options).prepare(request));
    return follow("exports/" + prepared.getRequestId(), prepared, options.listener());
  }

  /**
   * Follows an export that was started earlier, by any process, until it ends. The name is
   * exports/{export_id}. The listener is called as in {@link ExportOptions#onUpdate}.
   */
  public ExportResult watch(String name, Consumer<ExportUpdate> listener) {
    return follow(name, null, listener);
  }

  private ExportResult follow(
      String name, StartExportRequest request, Consumer<ExportUpdate> listener) {
    try (Follower follower = new Follower(connection, name, request)) {
      while (true) {
        ExportEvent event = follower.next();
        listener.accept(new ExportUpdate.Event(event));
        if (event.hasCompleted()) {
          return new ExportResult(event.getCompleted().getExport());
        }
        if (event.hasFailed()) {
          Failed failed = event.getFailed();
          String storedUnder = failed.getStoredUnder();
          throw TaraExportException.of(
                  follower.finalCode(), failed.getReason(), failed.getMessage())
              .with(storedUnder.isEmpty() ? Map.of() : Map.of("stored_under", storedUnder));
        }
      }
    }
  }

  /**
   * Exports many reviews, at most 500, follows them until all have ended, and returns the batch
   * with its items. The listener is called with the result of each item, once.
   *
   * <p>If the request has no batch id, one is generated. The call sends the same batch again after
   * a lost connection, and if the server did not accept every item. An item that is refused or
   * fails is no exception, but a state of the item.
   */
  public Batch exportBatch(BatchStartExportsRequest request, Consumer<BatchItem> listener) {
    String id =
        request.getBatchId().isEmpty() ? UUID.randomUUID().toString() : request.getBatchId();
    BatchStartExportsRequest started = request.toBuilder().setBatchId(id).build();
    return followBatch("batches/" + id, started, listener);
  }

  /** Follows a batch that was started earlier, batches/{batch_id}, until it ends. */
  public Batch watchBatch(String name, Consumer<BatchItem> listener) {
    return followBatch(name, null, listener);
  }

  private Batch followBatch(
      String name, BatchStartExportsRequest request, Consumer<BatchItem> listener) {
    try (BatchFollower follower = new BatchFollower(connection, name, request)) {
      follower.run(listener);
    }
    return getBatch(name);
  }

  /** Reads a batch with its items. */
  public Batch getBatch(String name) {
    GetBatchRequest request = GetBatchRequest.newBuilder().setName(name).build();
    Batch batch =
        translatingErrors(() -> connection.call(service -> service.getBatch(request))).getBatch();
    ServerNames.checkBatch(batch, name);
    return batch;
  }

  /** Returns the files that an export would write and the options for the user. */
  public PreviewExportResponse preview(PreviewExportRequest request) {
    return translatingErrors(() -> connection.call(service -> service.previewExport(request)));
  }

  /** Reads one export with its artifacts. */
  public Export getExport(String name) {
    GetExportRequest request = GetExportRequest.newBuilder().setName(name).build();
    Export export =
        translatingErrors(() -> connection.call(service -> service.getExport(request))).getExport();
    return ServerNames.checkedExport(export, name);
  }

  /**
   * Lists exports, newest first. Pages are fetched on demand. The request contains the filter, the
   * page size and the first page token.
   */
  public Iterable<Export> listExports(ListExportsRequest request) {
    return new Pages<>(
        request.getPageToken(),
        token -> {
          ListExportsRequest next = request.toBuilder().setPageToken(token).build();
          ListExportsResponse page = connection.call(service -> service.listExports(next));
          page.getExportsList().forEach(ServerNames::checkListed);
          return new Pages.Page<>(page.getExportsList(), page.getNextPageToken());
        });
  }

  /** Reads a bundle's report in one of its formats. */
  public GetReportResponse getReport(String name, GetReportRequest.View view) {
    GetReportRequest request = GetReportRequest.newBuilder().setName(name).setView(view).build();
    return translatingErrors(() -> connection.call(service -> service.getReport(request)));
  }

  /** Checks the server's stores. Returns one row per check, with a hint for each failure. */
  public List<StorageCheck> checkStorage() {
    CheckStorageRequest request = CheckStorageRequest.getDefaultInstance();
    return translatingErrors(() -> connection.call(service -> service.checkStorage(request)))
        .getChecksList();
  }

  /**
   * Creates a link with which anyone can download one file of a bundle in S3 until the link
   * expires. The response contains the actual expiry time.
   */
  public CreateDownloadLinkResponse createDownloadLink(CreateDownloadLinkRequest request) {
    CreateDownloadLinkResponse link =
        translatingErrors(() -> connection.call(service -> service.createDownloadLink(request)));
    ServerNames.checkLink(link.getUri(), request.getName());
    return link;
  }

  /**
   * Lists the server's events, oldest first. Pages are fetched on demand. The request contains the
   * conditions, the page size and the first page token.
   */
  public Iterable<Event> listEvents(ListEventsRequest request) {
    return new Pages<>(
        request.getPageToken(),
        token -> {
          ListEventsRequest next = request.toBuilder().setPageToken(token).build();
          ListEventsResponse page = connection.callAutomation(service -> service.listEvents(next));
          page.getEventsList().forEach(ServerNames::checkListedEvent);
          return new Pages.Page<>(page.getEventsList(), page.getNextPageToken());
        });
  }

  /** Delivers dead letters again, or events of committed exports that were never written. */
  public RetryEventsResponse retryEvents(RetryEventsRequest request) {
    return connection.callAutomation(service -> service.retryEvents(request));
  }

  /** Lists the targets of notifications and their state. */
  public ListTargetsResponse listTargets() {
    ListTargetsRequest request = ListTargetsRequest.getDefaultInstance();
    return connection.callAutomation(service -> service.listTargets(request));
  }

  /**
   * Sends a test event to a target, and returns its answer. A target that does not accept the event
   * is not an error, but {@code delivered} is false. As every unary call, it is repeated while the
   * server is UNAVAILABLE, so the target can receive the event twice.
   */
  public TestTargetResponse testTarget(String target) {
    TestTargetRequest request = TestTargetRequest.newBuilder().setTarget(target).build();
    return connection.callAutomation(service -> service.testTarget(request));
  }

  /**
   * Uploads a document before the request that names it, and resumes after a lost connection, even
   * in another process: the same content is the same upload for as long as the server keeps it.
   * {@code progress} receives the number of uploaded bytes, on the uploading thread.
   */
  public UploadedDocument upload(Content content, LongConsumer progress) {
    return translatingErrors(() -> new Uploader(connection, content, progress).run());
  }

  /**
   * Downloads one file of a bundle to target, which appears only after size and digest were
   * verified against the manifest. The path is relative to the bundle's folder. A lost stream is
   * resumed.
   */
  public Artifact downloadArtifact(String name, String path, Path target) {
    return translatingErrors(
        () ->
            Downloads.toFile(
                target, output -> new Downloads(connection).artifact(name, path, output)));
  }

  /** Downloads one file of a bundle. If this throws, do not use the written bytes. */
  public Artifact downloadArtifact(String name, String path, OutputStream output) {
    return translatingErrors(() -> new Downloads(connection).artifact(name, path, output));
  }

  /** Downloads a whole bundle as a ZIP file to target, which appears only when it is complete. */
  public BundleArchive downloadBundle(String name, Path target) {
    return translatingErrors(
        () -> Downloads.toFile(target, output -> new Downloads(connection).bundle(name, output)));
  }

  /** Downloads a whole bundle as a ZIP file. If this throws, do not use the written bytes. */
  public BundleArchive downloadBundle(String name, OutputStream output) {
    return translatingErrors(() -> new Downloads(connection).bundle(name, output));
  }

  /** Closes the connection. Accepted exports continue. */
  @Override
  public void close() {
    ManagedChannel channel = connection.channel();
    channel.shutdownNow();
  }

  /** An operation that calls the server or accesses files. */
  private interface Call<T> {
    T run() throws IOException;
  }

  private static <T> T translatingErrors(Call<T> call) {
    try {
      return call.run();
    } catch (IOException failure) {
      throw TaraExportException.file(failure);
    }
  }
}
