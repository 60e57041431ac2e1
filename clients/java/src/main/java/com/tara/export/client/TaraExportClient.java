package com.tara.export.client;

import com.tara.export.v1.Artifact;
import com.tara.export.v1.BundleArchive;
import com.tara.export.v1.CheckStorageRequest;
import com.tara.export.v1.CreateDownloadLinkRequest;
import com.tara.export.v1.CreateDownloadLinkResponse;
import com.tara.export.v1.Export;
import com.tara.export.v1.ExportEvent;
import com.tara.export.v1.Failed;
import com.tara.export.v1.GetExportRequest;
import com.tara.export.v1.GetReportRequest;
import com.tara.export.v1.GetReportResponse;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.PreviewExportRequest;
import com.tara.export.v1.PreviewExportResponse;
import com.tara.export.v1.StartExportRequest;
import com.tara.export.v1.StorageCheck;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.LongConsumer;

/**
 * A tara-export server, over native gRPC. Safe for use by several threads. Every method throws
 * {@link TaraExportException} where it fails.
 */
public final class TaraExportClient implements AutoCloseable {
  /** A connection that is dead without a sign is noticed after twice this. */
  private static final int KEEPALIVE_SECONDS = 20;

  private final Connection connection;

  private TaraExportClient(Connection connection) {
    this.connection = connection;
  }

  /** A client of the server at a URL such as http://127.0.0.1:8080, with the usual patience. */
  public static TaraExportClient connect(String url) {
    return connect(url, Policy.DEFAULT, builder -> {});
  }

  /**
   * The same with a policy, and with changes to grpc-java's channel, such as interceptors that add
   * credentials. The connection is made with the first call, and again by itself when it was lost.
   */
  public static TaraExportClient connect(
      String url, Policy policy, Consumer<ManagedChannelBuilder<?>> changes) {
    URI server = URI.create(url);
    boolean isTls = "https".equals(server.getScheme());
    if (server.getHost() == null || !(isTls || "http".equals(server.getScheme()))) {
      throw new IllegalArgumentException(url + " is not a URL such as http://127.0.0.1:8080");
    }
    int usualPort = isTls ? 443 : 80;
    ManagedChannelBuilder<?> builder =
        Grpc.newChannelBuilderForAddress(
                server.getHost(),
                server.getPort() < 0 ? usualPort : server.getPort(),
                isTls ? TlsChannelCredentials.create() : InsecureChannelCredentials.create())
            .defaultServiceConfig(policy.serviceConfig())
            .maxInboundMessageSize(Connection.MAX_MESSAGE_BYTES)
            .keepAliveTime(KEEPALIVE_SECONDS, TimeUnit.SECONDS)
            .keepAliveTimeout(KEEPALIVE_SECONDS, TimeUnit.SECONDS);
    changes.accept(builder);
    return new TaraExportClient(new Connection(builder.build(), policy));
  }

  /**
   * Exports a review, follows it to its end, and returns the bundle, also one that fell back to the
   * server's disk. What is large of the documents goes ahead of the request by itself.
   *
   * <p>The request's id is made once, when it has none; the same id never makes a second bundle.
   * Lost connections and restarted servers are survived, and no event of one run is told twice.
   *
   * <p>It waits as long as the server says that the export goes on. Whoever wants a limit calls it
   * in an {@link io.grpc.Context} with a deadline, or interrupts the thread; an export that was
   * accepted goes on without its caller.
   */
  public ExportResult export(StartExportRequest request, ExportOptions options) {
    StartExportRequest prepared = calling(() -> new Requests(connection, options).prepare(request));
    return follow("exports/" + prepared.getRequestId(), prepared, options.listener());
  }

  /**
   * Follows an export that was started before, from any process, to its end: name is
   * exports/{export_id}. The listener is called as that of {@link ExportOptions#onUpdate}.
   */
  public ExportResult watch(String name, Consumer<ExportUpdate> listener) {
    return follow(name, null, listener);
  }

  private ExportResult follow(
      String name, StartExportRequest request, Consumer<ExportUpdate> listener) {
    try (Follower follower = new Follower(connection, name, request)) {
      while (true) {
        ExportEvent event = follower.next();
        listener.accept(new ExportUpdate.Told(event));
        if (event.hasCompleted()) {
          return new ExportResult(event.getCompleted().getExport());
        }
        if (event.hasFailed()) {
          Failed failed = event.getFailed();
          String keptAs = failed.getKeptAs();
          throw TaraExportException.of(
                  follower.endingCode(), failed.getReason(), failed.getMessage())
              .with(keptAs.isEmpty() ? Map.of() : Map.of("kept_as", keptAs));
        }
      }
    }
  }

  /** Says what an export would write and what a person can choose, and writes nothing. */
  public PreviewExportResponse preview(PreviewExportRequest request) {
    return calling(() -> connection.service().previewExport(request));
  }

  /** Reads one export with its artifacts. */
  public Export getExport(String name) {
    GetExportRequest request = GetExportRequest.newBuilder().setName(name).build();
    Export export = calling(() -> connection.service().getExport(request)).getExport();
    return ServerNames.checkedExport(export, name);
  }

  /**
   * Lists exports, newest first; pages are fetched as they are asked for. The request gives filter,
   * page size and where to begin.
   */
  public Iterable<Export> listExports(ListExportsRequest request) {
    return new ExportList(connection, request);
  }

  /** Reads a bundle's report in one of its forms. */
  public GetReportResponse getReport(String name, GetReportRequest.View view) {
    GetReportRequest request = GetReportRequest.newBuilder().setName(name).setView(view).build();
    return calling(() -> connection.service().getReport(request));
  }

  /** Checks the server's stores: a row for each check, with a hint where one failed. */
  public List<StorageCheck> checkStorage() {
    CheckStorageRequest request = CheckStorageRequest.getDefaultInstance();
    return calling(() -> connection.service().checkStorage(request)).getChecksList();
  }

  /**
   * Makes a link by which anybody can download one file of a bundle in S3, for a time. The answer
   * tells when it really dies.
   */
  public CreateDownloadLinkResponse createDownloadLink(CreateDownloadLinkRequest request) {
    CreateDownloadLinkResponse link =
        calling(() -> connection.service().createDownloadLink(request));
    ServerNames.checkLink(link.getUri(), request.getName());
    return link;
  }

  /**
   * Sends a document ahead of the request that names it, and goes on where a lost connection left
   * off, also that of an earlier process: the same content is the same upload as long as the server
   * keeps it. {@code progress} is told how many bytes are there, on the thread that uploads.
   */
  public UploadedDocument upload(Content content, LongConsumer progress) {
    return calling(() -> new Uploader(connection, content, progress).run());
  }

  /**
   * Writes one file of a bundle to target, which appears only once size and digest were held
   * against the manifest's; path is the path within the bundle's folder. A lost stream is taken up
   * where it was.
   */
  public Artifact downloadArtifact(String name, String path, Path target) {
    return calling(
        () ->
            Downloads.toFile(
                target, output -> new Downloads(connection).artifact(name, path, output)));
  }

  /** Writes one file of a bundle. Where it throws, what was written is not to be used. */
  public Artifact downloadArtifact(String name, String path, OutputStream output) {
    return calling(() -> new Downloads(connection).artifact(name, path, output));
  }

  /** Writes a whole bundle as a ZIP file to target, which appears only once it is whole. */
  public BundleArchive downloadBundle(String name, Path target) {
    return calling(
        () -> Downloads.toFile(target, output -> new Downloads(connection).bundle(name, output)));
  }

  /** Writes a whole bundle as a ZIP file. Where it throws, what was written is not to be used. */
  public BundleArchive downloadBundle(String name, OutputStream output) {
    return calling(() -> new Downloads(connection).bundle(name, output));
  }

  /** Ends the connection. Exports that were accepted go on. */
  @Override
  public void close() {
    ManagedChannel channel = connection.channel();
    channel.shutdownNow();
  }

  /** Anything that calls the server or touches files. */
  private interface Call<T> {
    T run() throws IOException;
  }

  private static <T> T calling(Call<T> call) {
    try {
      return call.run();
    } catch (IOException failure) {
      throw TaraExportException.file(failure);
    } catch (StatusRuntimeException failure) {
      throw TaraExportException.from(failure);
    }
  }
}
