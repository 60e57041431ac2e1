package com.tara.export.client;

import io.grpc.EquivalentAddressGroup;
import io.grpc.NameResolver;
import io.grpc.NameResolverProvider;
import io.grpc.NameResolverRegistry;
import io.grpc.Status;
import io.grpc.StatusOr;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.net.URI;
import java.net.URISyntaxException;
import java.net.UnknownHostException;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.concurrent.Executor;

/**
 * Resolves host names that grpc-java's own resolver rejects, because {@code java.net.URI} rejects
 * them: names with an underscore, as Docker Compose and Kubernetes have. All other hosts use
 * grpc-java's resolver.
 */
final class HostNameResolver extends NameResolver {
  private static final String SCHEME = "tara-export-host";

  private final String host;
  private final int port;
  private final Executor executor;
  private Listener2 listener;

  private HostNameResolver(String host, int port, Executor executor) {
    this.host = host;
    this.port = port;
    this.executor = executor;
  }

  /** Returns the target of grpc-java for this host, which is a name or an IP address. */
  static String target(String host, int port) {
    try {
      String authority = new URI(null, null, host, port, null, null, null).getRawAuthority();
      // A "[" would not be valid in a path.
      return "dns:///" + authority.replace("[", "%5B").replace("]", "%5D");
    } catch (URISyntaxException notAHostOfUri) {
      Provider.register();
      return SCHEME + ":///" + host + ":" + port;
    }
  }

  @Override
  public String getServiceAuthority() {
    return host + ":" + port;
  }

  @Override
  public void start(Listener2 listener) {
    this.listener = listener;
    refresh();
  }

  @Override
  public void refresh() {
    executor.execute(
        () ->
            listener.onResult(
                ResolutionResult.newBuilder().setAddressesOrError(resolve()).build()));
  }

  private StatusOr<List<EquivalentAddressGroup>> resolve() {
    try {
      List<EquivalentAddressGroup> addresses =
          Arrays.stream(InetAddress.getAllByName(host))
              .map(each -> new EquivalentAddressGroup(new InetSocketAddress(each, port)))
              .toList();
      return StatusOr.fromValue(addresses);
    } catch (UnknownHostException unknown) {
      return StatusOr.fromStatus(
          Status.UNAVAILABLE.withDescription("Unable to resolve host " + host).withCause(unknown));
    }
  }

  @Override
  public void shutdown() {
    // There is nothing to stop: a lookup ends on its own.
  }

  private static final class Provider extends NameResolverProvider {
    private static boolean isRegistered;

    static synchronized void register() {
      if (!isRegistered) {
        NameResolverRegistry.getDefaultRegistry().register(new Provider());
        isRegistered = true;
      }
    }

    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      // Below grpc-java's own, which stays the default.
      return 1;
    }

    @Override
    public String getDefaultScheme() {
      return SCHEME;
    }

    @Override
    public NameResolver newNameResolver(URI target, Args arguments) {
      if (!SCHEME.equals(target.getScheme())) {
        return null;
      }
      String path = target.getPath();
      int colon = path.lastIndexOf(':');
      Executor executor = arguments.getOffloadExecutor();
      return new HostNameResolver(
          path.substring(1, colon),
          Integer.parseInt(path.substring(colon + 1)),
          executor == null ? Runnable::run : executor);
    }

    @Override
    public Collection<Class<? extends SocketAddress>> getProducedSocketAddressTypes() {
      return List.of(InetSocketAddress.class);
    }
  }
}
