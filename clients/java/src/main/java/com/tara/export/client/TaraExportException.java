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

/** Why a call failed: the gRPC status with its {@code google.rpc} details. */
public final class TaraExportException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * Nothing was heard for so long that it is no longer waited for. An export may still go on:
   * follow it later, or send it again with the same request id.
   */
  public static final String LOST_CONTACT = "LOST_CONTACT";

  /** Other bytes arrived than the server says the file has. */
  public static final String DAMAGED = "DAMAGED";

  /**
   * An answer that no tara-export server gives, such as a path that leads out of its folder.
   * Nothing of it was used.
   */
  public static final String UNTRUSTED_ANSWER = "UNTRUSTED_ANSWER";

  /** The request has a number that can't be sent without rounding it. */
  public static final String NOT_EXACT = "NOT_EXACT";

  /** The request is larger than any server takes. */
  public static final String REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE";

  /** A file can't be read or written; the cause says more. */
  public static final String FILE = "FILE";

  /** The thread was interrupted. An export that was accepted goes on. */
  public static final String INTERRUPTED = "INTERRUPTED";

  private final Details details;

  private record Details(
      Status.Code code,
      String reason,
      Map<String, String> metadata,
      List<FieldViolation> violations,
      Duration retryDelay)
      implements Serializable {}

  private TaraExportException(String message, Details details, Throwable cause) {
    super(ServerNames.printable(message), cause);
    this.details = details;
  }

  static TaraExportException of(Status.Code code, String reason, String message) {
    Details details = new Details(code, reason, Map.of(), List.of(), Duration.ZERO);
    return new TaraExportException(message, details, null);
  }

  /** A call that was cut without a status. */
  static TaraExportException lost(String message) {
    return of(Status.Code.UNAVAILABLE, "", message);
  }

  /** What the caller's own {@code io.grpc.Context} ended: by its deadline, or cancelled. */
  static TaraExportException ended(Context context) {
    return from(Contexts.statusFromCancelled(context).asRuntimeException());
  }

  /** An answer that the protocol does not allow. */
  static TaraExportException protocol(String message) {
    return of(
        Status.Code.DATA_LOSS, "", "the server sent an answer that makes no sense: " + message);
  }

  /** An answer that no right server gives to a request for {@code name}. */
  static TaraExportException untrusted(String name, String problem) {
    String message =
        "cannot use the server's answer for %s: %s; check the server's address, and that no other program answers there"
            .formatted(name, problem);
    return of(Status.Code.DATA_LOSS, UNTRUSTED_ANSWER, message);
  }

  static TaraExportException file(IOException cause) {
    return of(Status.Code.FAILED_PRECONDITION, FILE, "a file can't be read or written: " + cause)
        .causedBy(cause);
  }

  /** Keeps the thread's flag, as whoever catches that exception must. */
  static TaraExportException interrupted(InterruptedException cause) {
    Thread.currentThread().interrupt();
    return of(Status.Code.CANCELLED, INTERRUPTED, "the thread was interrupted").causedBy(cause);
  }

  TaraExportException with(Map<String, String> metadata) {
    Details changed =
        new Details(details.code, details.reason, metadata, details.violations, details.retryDelay);
    return new TaraExportException(getMessage(), changed, getCause());
  }

  TaraExportException with(FieldViolation violation) {
    Details changed =
        new Details(
            details.code, details.reason, details.metadata, List.of(violation), details.retryDelay);
    return new TaraExportException(getMessage(), changed, getCause());
  }

  TaraExportException causedBy(Throwable cause) {
    return new TaraExportException(getMessage(), details, cause);
  }

  /** Any failure of a call as this class. */
  static TaraExportException from(Throwable failure) {
    if (failure instanceof TaraExportException known) {
      return known;
    }
    if (failure.getCause() instanceof InterruptedException interrupted) {
      return interrupted(interrupted);
    }
    Status status = Status.fromThrowable(failure);
    com.google.rpc.Status answer = null;
    if (failure instanceof StatusRuntimeException || failure instanceof StatusException) {
      answer = StatusProto.fromThrowable(failure);
    }
    String reason = "";
    Map<String, String> metadata = Map.of();
    List<FieldViolation> violations = List.of();
    Duration retryDelay = Duration.ZERO;
    try {
      for (Any detail : answer == null ? List.<Any>of() : answer.getDetailsList()) {
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
                  .map(wrong -> new FieldViolation(wrong.getField(), wrong.getDescription()))
                  .toList();
        }
      }
    } catch (InvalidProtocolBufferException unreadable) {
      failure.addSuppressed(unreadable);
    }
    String message = status.getDescription();
    Details details = new Details(status.getCode(), reason, metadata, violations, retryDelay);
    if (message == null) {
      return new TaraExportException(status.getCode().toString(), details, failure);
    }
    // The cause has the server's text as it came, which a stack trace would print.
    boolean isPrintable = ServerNames.printable(message).equals(message);
    return new TaraExportException(message, details, isPrintable ? failure : null);
  }

  /** The gRPC code. A connection that was cut has UNAVAILABLE, or a code without a reason. */
  public Status.Code code() {
    return details.code;
  }

  /**
   * The UPPER_SNAKE reason of {@code google.rpc.ErrorInfo}, such as {@code REQUEST_ID_REUSED}, or
   * one of this class; empty where there is none.
   */
  public String reason() {
    return details.reason;
  }

  /** What {@code google.rpc.ErrorInfo} says besides, such as {@code export}. */
  public Map<String, String> metadata() {
    return details.metadata;
  }

  /** Every wrong field of a bad request. */
  public List<FieldViolation> fieldViolations() {
    return details.violations;
  }

  /** How long to wait before trying again; zero where the server doesn't say. */
  public Duration retryDelay() {
    return details.retryDelay;
  }

  /**
   * Whether the server is away or the call was cut, so that the same may work a moment later. Every
   * error of the server itself has a reason: without one, codes such as INTERNAL come from a
   * connection that ended in the middle.
   */
  boolean isLost() {
    return switch (details.code) {
      case UNAVAILABLE -> !details.reason.equals(LOST_CONTACT);
      case INTERNAL, UNKNOWN, CANCELLED -> details.reason.isEmpty();
      default -> false;
    };
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
