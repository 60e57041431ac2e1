package com.tara.export.client;

import com.google.protobuf.InvalidProtocolBufferException;
import io.grpc.Status;
import java.net.ConnectException;
import java.net.UnknownHostException;
import java.security.cert.CertificateException;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLException;

/**
 * The cause of a failure that the server did not send: an error of the connection, of a proxy, or
 * of this client's own libraries. Every error of the server has a reason, so these have none.
 *
 * @param isLost whether a retry may succeed
 * @param reason a reason of {@link TaraExportException}; may be empty
 * @param advice what to do next; may be empty
 * @param httpStatus the HTTP status of a proxy's response; 0 if there is none
 */
record Diagnosis(boolean isLost, String reason, String advice, int httpStatus) {
  private static final String ADDRESS = "check the server's address, and the proxy in front of it";

  private static final String NO_HTTP2 =
      "the server does not speak gRPC without TLS at this address: use https:// if it has TLS";

  private static final String AUTHORITY =
      "check that the address has the name in the server's certificate, and set the certificate authority that issued it with ConnectOptions.certificateAuthorities";

  private static final String CLIENT_CERTIFICATE =
      "the server requires a client certificate of an authority that it trusts: set one with ConnectOptions.clientCertificate";

  /** In the response of a tara-export server to a call without TLS on its port with TLS. */
  private static final String TLS_REQUIRED = "this port requires TLS";

  /** The first bytes of an alert of TLS, and of GOAWAY, which a tara-export server sends. */
  private static final Pattern TLS_ANSWER = Pattern.compile(": (1503|[0-9a-f]{6}07)");

  private static final Pattern HTTP_STATUS = Pattern.compile("HTTP status code (\\d{3})");

  /** Texts of grpc-java for a stream that the network or a proxy ended. */
  private static final Pattern LOST_STREAM =
      Pattern.compile(
          "RST_STREAM|end-of-stream mid-frame|unexpected EOS|Received unexpected|missing GRPC status|Connection reset|Stream closed");

  /** Finds the cause of a status without a reason. */
  static Diagnosis of(Status status) {
    String description = status.getDescription() == null ? "" : status.getDescription();
    if (description.contains(TLS_REQUIRED)) {
      return permanent(TaraExportException.TLS_FAILED, NO_HTTP2);
    }
    Matcher http = HTTP_STATUS.matcher(description);
    if (http.find()) {
      return ofHttp(Integer.parseInt(http.group(1)));
    }
    for (Throwable cause = status.getCause(); cause != null; cause = cause.getCause()) {
      Diagnosis found = ofCause(cause);
      if (found != null) {
        return found;
      }
    }
    return switch (status.getCode()) {
      case UNAVAILABLE -> lost("");
      case INTERNAL, UNKNOWN, CANCELLED ->
          LOST_STREAM.matcher(description).find() ? lost("") : invalid(description);
      case RESOURCE_EXHAUSTED -> {
        if (description.contains("RST_STREAM")) {
          yield lost("");
        }
        yield permanent(
            TaraExportException.RESPONSE_TOO_LARGE,
            "the limit is 64 MiB: request fewer exports per page, or download a file instead of the report");
      }
      default -> permanent("", "");
    };
  }

  private static Diagnosis lost(String advice) {
    return new Diagnosis(true, "", advice, 0);
  }

  private static Diagnosis permanent(String reason, String advice) {
    return new Diagnosis(false, reason, advice, 0);
  }

  private static Diagnosis invalid(String description) {
    boolean isCompression = description.toLowerCase(Locale.ROOT).contains("compress");
    return permanent(
        TaraExportException.INVALID_RESPONSE,
        isCompression ? "the compression cannot be read: " + ADDRESS : ADDRESS);
  }

  /** Finds the cause in an exception of Java, Netty or protobuf; null if it is another one. */
  private static Diagnosis ofCause(Throwable cause) {
    String name = cause.getClass().getSimpleName();
    String message = String.valueOf(cause.getMessage());
    if (cause instanceof UnknownHostException) {
      boolean isTemporary = message.toLowerCase(Locale.ROOT).contains("temporary");
      return new Diagnosis(
          isTemporary,
          TaraExportException.HOST_NOT_FOUND,
          "check the host in the server's address",
          0);
    }
    if (name.equals("NotSslRecordException")) {
      return permanent(
          TaraExportException.TLS_FAILED,
          "the server does not use TLS at this address: use http://, or the port with TLS");
    }
    if (cause instanceof CertificateException) {
      return permanent(TaraExportException.TLS_FAILED, AUTHORITY);
    }
    if (cause instanceof SSLException) {
      return ofTls(cause, message);
    }
    if (name.equals("HeaderListSizeException")) {
      return permanent(
          TaraExportException.RESPONSE_TOO_LARGE,
          "the response headers are beyond the limit of 64 KiB: remove headers that a proxy adds");
    }
    if (name.startsWith("Http2Exception")) {
      boolean isTls = message.contains("not SETTINGS") && TLS_ANSWER.matcher(message).find();
      return permanent(
          isTls ? TaraExportException.TLS_FAILED : TaraExportException.INVALID_RESPONSE,
          message.contains("not SETTINGS") || message.contains("HTTP/1") ? NO_HTTP2 : ADDRESS);
    }
    if (cause instanceof InvalidProtocolBufferException) {
      return permanent(TaraExportException.INVALID_RESPONSE, ADDRESS);
    }
    if (cause instanceof ConnectException) {
      return lost("check that the server is running and that its address is right");
    }
    return null;
  }

  private static Diagnosis ofTls(Throwable failure, String message) {
    for (Throwable cause = failure.getCause(); cause != null; cause = cause.getCause()) {
      if (cause instanceof CertificateException) {
        return permanent(TaraExportException.TLS_FAILED, AUTHORITY);
      }
    }
    String text = message.toLowerCase(Locale.ROOT).replace('_', ' ');
    if (text.contains("closed") || text.contains("reset")) {
      // The connection ended during the handshake.
      return lost("");
    }
    boolean isAboutClient =
        text.contains("certificate") || text.contains("unknown ca") || text.contains("decrypt");
    return permanent(
        TaraExportException.TLS_FAILED,
        isAboutClient
            ? CLIENT_CERTIFICATE
            : "check the certificates and the TLS versions of the server and of this client");
  }

  /** Finds the cause of a response of a proxy or of another HTTP server. */
  private static Diagnosis ofHttp(int status) {
    boolean isRetried = status == 429 || status == 502 || status == 503 || status == 504;
    String advice =
        switch (status) {
          case 200 -> ADDRESS;
          case 301, 302, 307, 308 -> "check the server's address: use the final one";
          case 400, 404, 405, 415 -> "check the server's address and protocol";
          case 401, 403, 407 -> "a proxy refuses the call: give it the credentials that it needs";
          case 413 -> "raise the proxy's limit of request bodies (nginx: client_max_body_size)";
          case 431 ->
              "the request's headers are too large: use a shorter token, or raise the proxy's limit";
          case 429 -> "send fewer calls, or raise the proxy's limit";
          case 502, 503 -> "check that the server is running, and the proxy's address of it";
          case 504 -> "raise the proxy's timeout (nginx: grpc_read_timeout)";
          default -> "check the proxy's log";
        };
    String reason =
        status == 200 ? TaraExportException.INVALID_RESPONSE : TaraExportException.HTTP_ERROR;
    return new Diagnosis(isRetried, reason, advice, status);
  }
}
