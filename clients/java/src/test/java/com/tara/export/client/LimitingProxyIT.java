package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.tara.export.v1.CreateUploadResponse;
import com.tara.export.v1.Document;
import com.tara.export.v1.ExportServiceGrpc;
import com.tara.export.v1.GetUploadResponse;
import com.tara.export.v1.Review;
import com.tara.export.v1.StartExportRequest;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Deadline;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.ForwardingClientCallListener.SimpleForwardingClientCallListener;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongConsumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Uploads to the real server through a proxy that refuses large requests. */
@Timeout(120)
class LimitingProxyIT {
  private static final int MIB = 1024 * 1024;

  @TempDir Path folder;

  private Server server() throws IOException {
    return new Server(folder.resolve("data"), Map.of());
  }

  private static TaraExportClient connect(String url, ClientInterceptor interceptor) {
    return TaraExportClient.connect(
        url, new ConnectOptions().channel(channel -> channel.intercept(interceptor)));
  }

  /** Reproducible random bytes. */
  private static byte[] randomBytes(int size, int seed) {
    byte[] bytes = new byte[size];
    new Random(seed).nextBytes(bytes);
    return bytes;
  }

  private static void upload(TaraExportClient client, byte[] bytes, LongConsumer progress)
      throws IOException {
    UploadedDocument uploaded = client.upload(Content.of(bytes), progress);
    assertEquals(Digests.of(Content.of(bytes)), uploaded.sha256());
  }

  @Test
  void uploadContinuesInSmallChunks() throws Exception {
    Calls calls = new Calls();
    try (Server server = server();
        LimitingProxy proxy = new LimitingProxy(server.url());
        TaraExportClient client = connect(proxy.url(), calls)) {
      for (int size : List.of(9 * MIB + 1, 2 * MIB, 1, 0)) {
        List<Long> done = new ArrayList<>();
        upload(client, randomBytes(size, 1), done::add);
        assertEquals(size, done.get(done.size() - 1));
      }
      assertEquals(1, proxy.refused(), "the client remembers the limit");
      assertEquals(1, calls.streams.get());
      assertTrue(calls.chunks.get() >= 2 * 10 + 2, () -> calls.chunks + " chunks");
    }
  }

  @Test
  void smallUploadsStayStreams() throws Exception {
    Calls calls = new Calls();
    try (Server server = server();
        LimitingProxy proxy = new LimitingProxy(server.url());
        TaraExportClient client = connect(proxy.url(), calls)) {
      upload(client, randomBytes(MIB - 1024, 2), done -> {});
      assertEquals(0, proxy.refused());
      assertEquals(1, calls.streams.get());
      assertEquals(0, calls.chunks.get());
    }
  }

  @Test
  void exportUploadsLargeDocuments() throws Exception {
    byte[] bytes = randomBytes(9 * MIB, 3);
    try (Server server = server();
        LimitingProxy proxy = new LimitingProxy(server.url());
        TaraExportClient client = TaraExportClient.connect(proxy.url())) {
      StartExportRequest request =
          StartExportRequest.newBuilder()
              .setReview(Review.newBuilder().setDocumentName("report.pdf"))
              .build();
      ExportOptions options =
          new ExportOptions().attach(Document.Kind.KIND_AFTER, "after.pdf", Content.of(bytes));
      ExportResult result = client.export(request, options);
      String digest = Digests.of(Content.of(bytes));
      assertTrue(
          result.export().getArtifactsList().stream()
              .anyMatch(artifact -> artifact.getSha256().equals(digest)));
      assertEquals(1, proxy.refused());
    }
  }

  @Test
  void refusedStreamsOfOneClientAllContinue() throws Exception {
    int uploads = 3;
    // Every upload has begun a stream before the first one is refused.
    CyclicBarrier streams = new CyclicBarrier(uploads);
    ExecutorService threads = Executors.newFixedThreadPool(uploads);
    try (Server server = server();
        LimitingProxy proxy = new LimitingProxy(server.url());
        TaraExportClient client = TaraExportClient.connect(proxy.url())) {
      List<Callable<Void>> calls = new ArrayList<>();
      for (int seed = 10; seed < 10 + uploads; seed++) {
        byte[] bytes = randomBytes(4 * MIB, seed);
        AtomicInteger reports = new AtomicInteger();
        calls.add(
            () -> {
              // The first report is that of the new upload, the second that of the stream.
              upload(
                  client,
                  bytes,
                  done -> {
                    if (reports.incrementAndGet() == 2) {
                      await(streams);
                    }
                  });
              return null;
            });
      }
      for (Future<Void> call : threads.invokeAll(calls)) {
        call.get();
      }
      assertEquals(uploads, proxy.refused());
    } finally {
      threads.shutdownNow();
    }
  }

  private static void await(CyclicBarrier barrier) {
    try {
      barrier.await(60, TimeUnit.SECONDS);
    } catch (InterruptedException | BrokenBarrierException | TimeoutException failure) {
      throw new IllegalStateException(failure);
    }
  }

  @Test
  void chunksResumeAfterCut() throws Exception {
    Calls calls = new Calls();
    byte[] bytes = randomBytes(9 * MIB, 4);
    try (Server server = server();
        LimitingProxy limiting = new LimitingProxy(server.url());
        CuttingProxy cutting = new CuttingProxy(limiting.url(), CuttingProxy.NEVER, 6L * MIB);
        TaraExportClient client = connect(cutting.url(), calls)) {
      upload(client, bytes, done -> {});
      assertEquals(1, cutting.cuts());
      assertEquals(1, limiting.refused());
      // Committed chunks are not sent again: 18 of the document, and those that the cut ended.
      assertTrue(calls.chunks.get() <= 20, () -> calls.chunks + " chunks");
    }
  }

  @Test
  void refusalIsReportedIfServerAcceptsNoSmallChunks() throws Exception {
    Calls calls = new Calls();
    ConnectOptions options =
        new ConnectOptions().channel(channel -> channel.intercept(new EarlierServer(), calls));
    try (Server server = server();
        LimitingProxy proxy = new LimitingProxy(server.url());
        TaraExportClient client = TaraExportClient.connect(proxy.url(), options)) {
      for (int upload = 1; upload <= 2; upload++) {
        byte[] bytes = randomBytes(3 * MIB, 5);
        TaraExportException failure =
            assertThrows(
                TaraExportException.class, () -> client.upload(Content.of(bytes), done -> {}));
        assertEquals(TaraExportException.HTTP_ERROR, failure.reason(), failure::toString);
        assertEquals("413", failure.metadata().get("http_status"));
        assertTrue(failure.getMessage().contains("client_max_body_size"), failure::getMessage);
        assertEquals(upload, proxy.refused());
      }
      assertEquals(2, calls.streams.get());
      assertEquals(0, calls.chunks.get());
    }
  }

  @Test
  void chunkWithoutResponseIsSentAgain() throws Exception {
    Policy policy = Policy.DEFAULT.withDeadline(Duration.ofSeconds(3));
    try (Server server = server();
        LimitingProxy proxy = new LimitingProxy(server.url());
        SilentChunks silent = new SilentChunks();
        TaraExportClient client =
            TaraExportClient.connect(proxy.url(), policy, channel -> channel.intercept(silent))) {
      upload(client, randomBytes(2 * MIB, 6), done -> {});
      silent.left.set(1);
      upload(client, randomBytes(10, 6), done -> {});
      assertEquals(0, silent.left.get());

      silent.left.set(Integer.MAX_VALUE);
      Context.CancellableContext limited =
          Context.current().withDeadline(Deadline.after(500, TimeUnit.MILLISECONDS), silent.timer);
      try (limited) {
        TaraExportException failure =
            assertThrows(
                TaraExportException.class,
                () ->
                    limited.call(() -> client.upload(Content.of(randomBytes(11, 6)), done -> {})));
        assertEquals(Status.Code.DEADLINE_EXCEEDED, failure.code(), failure::toString);
      }
    }
  }

  /** Counts the calls that send documents. */
  private static final class Calls implements ClientInterceptor {
    final AtomicInteger streams = new AtomicInteger();
    final AtomicInteger chunks = new AtomicInteger();

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
        MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      if (method.equals(ExportServiceGrpc.getUploadDocumentMethod())) {
        streams.incrementAndGet();
      } else if (method.equals(ExportServiceGrpc.getUploadChunkMethod())) {
        chunks.incrementAndGet();
      }
      return next.newCall(method, options);
    }
  }

  /** Makes the server one of an earlier release, which does not announce the smallest chunk. */
  private static final class EarlierServer implements ClientInterceptor {
    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
        MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
        @Override
        public void start(Listener<A> listener, Metadata headers) {
          super.start(
              new SimpleForwardingClientCallListener<>(listener) {
                @Override
                @SuppressWarnings("unchecked")
                public void onMessage(A message) {
                  super.onMessage((A) ofEarlierServer(message));
                }
              },
              headers);
        }
      };
    }

    private static Object ofEarlierServer(Object message) {
      if (message instanceof CreateUploadResponse created) {
        CreateUploadResponse.Builder changed = created.toBuilder();
        changed.getUploadBuilder().clearMinChunkSizeBytes();
        return changed.build();
      }
      if (message instanceof GetUploadResponse read) {
        GetUploadResponse.Builder changed = read.toBuilder();
        changed.getUploadBuilder().clearMinChunkSizeBytes();
        return changed.build();
      }
      return message;
    }
  }

  /** Sends a number of chunks to a listener that never responds. */
  private static final class SilentChunks implements ClientInterceptor, AutoCloseable {
    final AtomicInteger left = new AtomicInteger();
    final ScheduledExecutorService timer = Executors.newSingleThreadScheduledExecutor();
    private final ServerSocket listener = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
    private final ManagedChannel silent =
        Grpc.newChannelBuilder(
                "127.0.0.1:" + listener.getLocalPort(), InsecureChannelCredentials.create())
            .build();

    SilentChunks() throws IOException {}

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(
        MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
      boolean isChunk = method.equals(ExportServiceGrpc.getUploadChunkMethod());
      boolean isSilent = isChunk && left.getAndUpdate(n -> Math.max(0, n - 1)) > 0;
      return (isSilent ? silent : next).newCall(method, options);
    }

    @Override
    public void close() throws IOException {
      timer.shutdownNow();
      silent.shutdownNow();
      listener.close();
    }
  }
}
