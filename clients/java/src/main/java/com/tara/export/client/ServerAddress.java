package com.tara.export.client;

import java.util.Locale;
import java.util.Set;

/**
 * The parsed address of a server. {@code java.net.URI} has no host for a name with an underscore,
 * so it is not used.
 *
 * @param target the target of grpc-java
 * @param authority the host that the client requests; null for the one of the target
 * @param isTls whether the scheme requires TLS
 * @param isPlain whether the scheme excludes TLS
 * @param isLocal whether the connection does not leave this machine
 */
record ServerAddress(
    String target, String authority, boolean isTls, boolean isPlain, boolean isLocal) {

  /** Schemes of a URL. */
  private static final Set<String> URL_SCHEMES = Set.of("http", "https");

  /** Parses an address. The exceptions do not contain a password. */
  static ServerAddress parse(String server) {
    int schemeEnd = server.indexOf("://");
    String scheme = schemeEnd < 0 ? "" : server.substring(0, schemeEnd).toLowerCase(Locale.ROOT);
    if (server.startsWith("unix:")) {
      return unix(server);
    }
    if (URL_SCHEMES.contains(scheme)) {
      return url(server, server.substring(schemeEnd + 3), scheme.equals("https"), true);
    }
    if (scheme.equals("dns") && server.startsWith("/", schemeEnd + 3)) {
      return url(server, server.substring(schemeEnd + 4), false, false);
    }
    if (schemeEnd < 0 && !server.isEmpty()) {
      return url(server, server, false, true);
    }
    if (scheme.matches("[a-z][a-z0-9+.-]*")) {
      // grpc-java reports an unknown scheme.
      return new ServerAddress(server, null, false, false, false);
    }
    throw invalid(server, "the scheme must be http, https, dns or unix");
  }

  private static IllegalArgumentException invalid(String server, String problem) {
    // The part before an @ can be a password.
    int at = server.lastIndexOf('@');
    String shown = at < 0 ? server : "…" + server.substring(at);
    return new IllegalArgumentException(
        ServerNames.printable(
            "cannot use the server's address \"%s\": %s; set a URL such as http://127.0.0.1:8080 or https://export.example.com, or unix:/path of a socket"
                .formatted(shown, problem)));
  }

  private static ServerAddress url(String server, String rest, boolean isTls, boolean isUrl) {
    if (rest.indexOf('@') >= 0) {
      throw invalid(server, "it contains a user name; use a token");
    }
    if (rest.indexOf('?') >= 0 || rest.indexOf('#') >= 0) {
      throw invalid(server, "it has a query or a fragment");
    }
    int slash = rest.indexOf('/');
    if (slash >= 0 && slash < rest.length() - 1) {
      throw invalid(server, "gRPC has no path");
    }
    String hostAndPort = slash < 0 ? rest : rest.substring(0, slash);
    int bracket = hostAndPort.lastIndexOf(']');
    int colon = hostAndPort.indexOf(':', Math.max(bracket, 0));
    String host = colon < 0 ? hostAndPort : hostAndPort.substring(0, colon);
    if (host.isEmpty()) {
      throw invalid(server, "it has no host");
    }
    boolean isBracketed = host.startsWith("[") && host.endsWith("]");
    String characters = isBracketed ? "\\[[0-9A-Fa-f:.%\\w]+]" : "[^\\s:\\[\\]\\\\\"<>^`{|}%]+";
    if (!host.matches(characters)) {
      throw invalid(server, "it has an invalid host; write an IPv6 address in brackets");
    }
    int port = isTls || !isUrl ? 443 : 80;
    if (colon >= 0) {
      String digits = hostAndPort.substring(colon + 1);
      port = digits.matches("[0-9]{1,5}") ? Integer.parseInt(digits) : 0;
      if (port < 1 || port > 65535) {
        throw invalid(server, "the port must be 1 to 65535");
      }
    }
    String name = isBracketed ? host.substring(1, host.length() - 1) : host;
    return new ServerAddress(
        HostNameResolver.target(name, port), null, isTls, isUrl && !isTls, isLoopback(name));
  }

  private static ServerAddress unix(String server) {
    String path = server.substring("unix:".length());
    if (path.startsWith("//")) {
      if (!path.startsWith("///")) {
        throw invalid(server, "a socket has no host: write unix:/path");
      }
      path = path.substring(2);
    }
    if (path.isEmpty()) {
      throw invalid(server, "it has no path");
    }
    // The server would check a path as a host, and reject it.
    return new ServerAddress("unix:" + path, "localhost", false, false, true);
  }

  private static boolean isLoopback(String host) {
    String name = host.toLowerCase(Locale.ROOT);
    if (name.endsWith(".")) {
      name = name.substring(0, name.length() - 1);
    }
    return name.equals("localhost")
        || name.endsWith(".localhost")
        || name.matches("127\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}")
        || name.matches("[0:]*:0*1");
  }
}
