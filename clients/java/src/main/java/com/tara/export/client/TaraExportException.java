package com.tara.export.client;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.io.IOException;
import java.io.Serializable;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** A failed call: the gRPC status with its {@code google.rpc} details. */
public final class TaraExportException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * No progress within the timeout, so the client stopped waiting. An export may continue: follow
   * it later, or send it again with the same request id.
   */
  public static final String LOST_CONTACT = "LOST_CONTACT";

  /** The received bytes do not match the size or digest that the server reported. */
  public static final String DAMAGED = "DAMAGED";

  /**
   * A response that no tara-export server sends, such as a path outside of its folder. It was
   * discarded.
   */
  public static final String UNTRUSTED_RESPONSE = "UNTRUSTED_RESPONSE";

  /** The request is larger than any server accepts. */
  public static final String REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE";

  /** The source of the token failed, or its token cannot be sent; the cause has the details. */
  public static final String TOKEN_UNAVAILABLE = "TOKEN_UNAVAILABLE";

  /** No connection, because of TLS or a certificate. */
  public static final String TLS_FAILED = "TLS_FAILED";

  /** The host in the server's address does not exist. */
  public static final String HOST_NOT_FOUND = "HOST_NOT_FOUND";

  /** Not a response of tara-export, such as a web page, or one that the client cannot read. */
  public static final String INVALID_RESPONSE = "INVALID_RESPONSE";

  /** A proxy responded with another HTTP status than 200: {@code http_status} of the metadata. */
  public static final String HTTP_ERROR = "HTTP_ERROR";

  /** The response is larger than the client accepts. */
  public static final String RESPONSE_TOO_LARGE = "RESPONSE_TOO_LARGE";

  /** A file cannot be read or written; the cause has the details. */
  public static final String FILE = "FILE";

  /** The thread was interrupted. An accepted export continues. */
  public static final String INTERRUPTED = "INTERRUPTED";

  private static final String HTTP_STATUS = "http_status";

  /** The longest text of a local library in a message, in characters. */
  private static final int MAX_LOCAL_TEXT = 500;

  private final Details details;

  private record Details(
      Status.Code code,
      String reason,
      Map<String, String> metadata,
      List<FieldViolation> violations,
      Duration retryDelay,
      boolean isLost)
      implements Serializable {}

  private TaraExportException(String message, Details details, Throwable cause) {
    super(ServerNames.printable(message), cause);
    this.details = details;
  }

  static TaraExportException of(Status.Code code, String reason, String message) {
    Details details = new Details(code, reason, Map.of(), List.of(), Duration.ZERO, false);
    return new TaraExportException(message, details, null);
  }

  /** Creates an exception for a call that ended without a status. */
  static TaraExportException connectionLost(String message) {
    Status.Code code = Status.Code.UNAVAILABLE;
    Details details = new Details(code, "", Map.of(), List.of(), Duration.ZERO, true);
    return new TaraExportException(message, details, null);
  }

  /** Creates an exception for a {@code io.grpc.Context} that was cancelled or expired. */
  static TaraExportException contextEnded(Context context) {
    Status status = Contexts.statusFromCancelled(context);
    String description = status.getDescription();
    String message = description == null ? status.getCode().toString() : description;
    return of(status.getCode(), "", message).causedBy(status.asRuntimeException());
  }

  /** Creates an exception for a response that violates the protocol. */
  static TaraExportException invalidResponse(String message) {
    return of(Status.Code.DATA_LOSS, "", "invalid response from the server: " + message);
  }

  /** Creates an exception for a response that no tara-export server sends. */
  static TaraExportException untrusted(String name, String problem) {
    String message =
        "cannot use the server's response for %s: %s; check the server's address, and that no other program is listening there"
            .formatted(name, problem);
    return of(Status.Code.DATA_LOSS, UNTRUSTED_RESPONSE, message);
  }

  static TaraExportException file(IOException cause) {
    return of(Status.Code.FAILED_PRECONDITION, FILE, "cannot read or write file: " + cause)
        .causedBy(cause);
  }

  /** Restores the interrupt flag of the thread. */
  static TaraExportException interrupted(InterruptedException cause) {
    Thread.currentThread().interrupt();
    return of(Status.Code.CANCELLED, INTERRUPTED, "the thread was interrupted").causedBy(cause);
  }

  TaraExportException with(Map<String, String> metadata) {
    Details changed =
        new Details(
            details.code,
            details.reason,
            metadata,
            details.violations,
            details.retryDelay,
            details.isLost);
    return new TaraExportException(getMessage(), changed, getCause());
  }

  TaraExportException with(FieldViolation violation) {
    Details changed =
        new Details(
            details.code,
            details.reason,
            details.metadata,
            List.of(violation),
            details.retryDelay,
            details.isLost);
    return new TaraExportException(getMessage(), changed, getCause());
  }

  TaraExportException causedBy(Throwable cause) {
    return new TaraExportException(getMessage(), details, cause);
  }

  /** Converts any failure of a call to the server with this address to this class. */
  static TaraExportException from(Throwable failure, String server) {
    if (failure instanceof TaraExportException known) {
      return known;
    }
    if (failure.getCause() instanceof InterruptedException interrupted) {
      return interrupted(interrupted);
    }
    Status status = Status.fromThrowable(failure);
    com.google.rpc.Status response = null;
    if (failure instanceof StatusRuntimeException || failure instanceof StatusException) {
      response = StatusProto.fromThrowable(failure);
    }
    String reason = "";
    Map<String, String> metadata = Map.of();
    List<FieldViolation> violations = List.of();
    Duration retryDelay = Duration.ZERO;
    try {
      for (Any detail : response == null ? List.<Any>of() : response.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          metadata = Map.copyOf(info.getMetadataMap());
        } else if (detail.is(RetryInfo.class)) {
          com.google.protobuf.Duration delay = detail.unpack(RetryInfo.class).getRetryDelay();
          retryDelay = Duration.ofSeconds(delay.getSeconds(), delay.getNanos());
        } else if (detail.is(BadRequest.class)) {
          violations =
              detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                  .map(field -> new FieldViolation(field.getField(), field.getDescription()))
                  .toList();
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      failure.addSuppressed(unreadable);
    }
    boolean isLost = status.getCode() == Status.Code.UNAVAILABLE;
    String description = status.getDescription();
    String message = description == null ? status.getCode().toString() : description;
    if (reason.isEmpty() && isEndedByContext(status)) {
      isLost = false;
    } else if (reason.isEmpty()) {
      Diagnosis diagnosis = Diagnosis.of(status);
      isLost = diagnosis.isLost();
      reason = diagnosis.reason();
      if (reason.equals(HTTP_ERROR)) {
        metadata = Map.of(HTTP_STATUS, Integer.toString(diagnosis.httpStatus()));
      }
      message = withCause(message, status.getCause());
      if (!diagnosis.advice().isEmpty()) {
        message = server + ": " + message + "; " + diagnosis.advice();
      }
    }
    Details details =
        new Details(status.getCode(), reason, metadata, violations, retryDelay, isLost);
    // The cause contains the server's unescaped text, which a stack trace would print.
    boolean isPrintable = ServerNames.printable(message).equals(message);
    return new TaraExportException(message, details, isPrintable ? failure : null);
  }

  private static boolean isEndedByContext(Status status) {
    return status.getCode() == Status.Code.CANCELLED && Context.current().isCancelled();
  }

  /** Returns the first line of the text, without the page of a proxy, and the innermost cause. */
  private static String withCause(String text, Throwable cause) {
    String message = text.lines().limit(2).collect(Collectors.joining(", "));
    if (message.length() > MAX_LOCAL_TEXT) {
      message = message.substring(0, MAX_LOCAL_TEXT) + "…";
    }
    Throwable innermost = cause;
    while (innermost != null && innermost.getCause() != null) {
      innermost = innermost.getCause();
    }
    if (innermost == null || innermost.getMessage() == null) {
      return message;
    }
    String detail = innermost.getMessage();
    return message + ": " + detail.substring(0, Math.min(detail.length(), MAX_LOCAL_TEXT));
  }

  /** The gRPC code. For a lost connection it is UNAVAILABLE, or another without a reason. */
  public Status.Code code() {
    return details.code;
  }

  /**
   * The UPPER_SNAKE reason of {@code google.rpc.ErrorInfo}, such as {@code REQUEST_ID_REUSED}, or
   * one of this class; empty if there is none.
   */
  public String reason() {
    return details.reason;
  }

  /**
   * Metadata of {@code google.rpc.ErrorInfo}, such as {@code export}, or of an error of this class.
   */
  public Map<String, String> metadata() {
    return details.metadata;
  }

  /** All invalid fields of a bad request. */
  public List<FieldViolation> fieldViolations() {
    return details.violations;
  }

  /** The delay before a retry; zero if the server does not specify one. */
  public Duration retryDelay() {
    return details.retryDelay;
  }

  /** Whether the server is unavailable or the connection was lost, so that a retry may succeed. */
  boolean isLost() {
    return details.isLost;
  }

  /** Whether a proxy refused the request because of its size. */
  boolean isTooLargeForProxy() {
    return details.reason.equals(HTTP_ERROR) && "413".equals(details.metadata.get(HTTP_STATUS));
  }

  @Override
  public String toString() {
    StringBuilder text = new StringBuilder(getClass().getName());
    text.append(": ").append(getMessage()).append(" (").append(details.code);
    if (!details.reason.isEmpty()) {
      text.append(", ").append(ServerNames.printable(details.reason));
    }
    text.append(')');
    for (FieldViolation violation : details.violations) {
      String description = violation.field() + ": " + violation.description();
      text.append("; ").append(ServerNames.printable(description));
    }
    return text.toString();
  }
}
