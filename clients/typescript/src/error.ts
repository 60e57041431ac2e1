import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { invalidResponse, isUnclear, localError } from "./local-error.js";
import { printable } from "./printable.js";

/** One field of a bad request. */
export interface FieldViolation {
  /** The field's path in the request. */
  field: string;
  /** Human-readable description of the problem. */
  description: string;
}

interface ErrorFields {
  reason?: string | undefined;
  metadata?: Readonly<Record<string, string>>;
  fieldViolations?: readonly FieldViolation[];
  retryDelayMs?: number | undefined;
  isFromServer?: boolean;
  isUnclear?: boolean;
  cause?: unknown;
}

/** Reasons of errors that this client detects. The project's README lists the server's reasons. */
export const ClientReason = {
  /** No progress within the timeout, so the client stopped following. The export may continue. */
  LOST_CONTACT: "LOST_CONTACT",
  /** The received bytes do not match the size or digest that the server reported. */
  DAMAGED: "DAMAGED",
  /** A response that no tara-export server sends, such as a path outside of its folder. It was discarded. */
  UNTRUSTED_RESPONSE: "UNTRUSTED_RESPONSE",
  /** A document's content cannot be read. */
  UNREADABLE: "UNREADABLE",
  /** An HTTP response without a gRPC status, of a proxy or another program; see `metadata.http_status`. */
  HTTP_ERROR: "HTTP_ERROR",
  /** A response that is not gRPC, or that this client cannot read. */
  INVALID_RESPONSE: "INVALID_RESPONSE",
  /** Headers or a message beyond the limits of this client. */
  RESPONSE_TOO_LARGE: "RESPONSE_TOO_LARGE",
  /** A request beyond the limits of this client, or of the server. */
  REQUEST_TOO_LARGE: "REQUEST_TOO_LARGE",
  /** TLS is not possible: a certificate is not accepted, or one side does not use TLS. */
  TLS_FAILED: "TLS_FAILED",
  /** The host name does not exist. */
  HOST_NOT_FOUND: "HOST_NOT_FOUND",
} as const;

/** A failed call: the gRPC status with its `google.rpc` details. */
export class TaraExportError extends Error {
  override readonly name = "TaraExportError";
  /** The gRPC code. It is UNAVAILABLE for a lost connection, as in other gRPC clients. */
  readonly code: Code;
  /** The UPPER_SNAKE reason of `google.rpc.ErrorInfo`, such as `REQUEST_ID_REUSED`, or a {@link ClientReason}. */
  readonly reason: string | undefined;
  /** Metadata of `google.rpc.ErrorInfo`, such as `export`, the name of the first export. */
  readonly metadata: Readonly<Record<string, string>>;
  /** All violated fields of `google.rpc.BadRequest`. */
  readonly fieldViolations: readonly FieldViolation[];
  /** The delay before a retry, from `google.rpc.RetryInfo`. */
  readonly retryDelayMs: number | undefined;
  /** Whether the server sent this error. Otherwise the connection failed or the client rejected the call. */
  readonly isFromServer: boolean;
  /**
   * Whether the connection was lost, or the response is not gRPC: both end without a status.
   * @internal
   */
  readonly isUnclear: boolean;

  constructor(code: Code, message: string, fields: ErrorFields = {}) {
    super(printable(message), fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.reason = fields.reason;
    this.metadata = fields.metadata ?? {};
    this.fieldViolations = fields.fieldViolations ?? [];
    this.retryDelayMs = fields.retryDelayMs;
    this.isFromServer = fields.isFromServer ?? false;
    this.isUnclear = fields.isUnclear ?? false;
  }

  /** The code's name, such as `NOT_FOUND`. */
  get codeName(): string {
    return Code[this.code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
  }

  /** Converts any failure of a call to this class. */
  static from(failure: unknown): TaraExportError {
    // connect wraps errors that a request's source throws.
    for (let error = failure; error instanceof Error; error = error.cause) {
      if (error instanceof TaraExportError) return error;
    }
    const error = ConnectError.from(failure);
    const local = localError(error);
    if (local) return local;
    // Only a status from the wire has this metadata; errors that connect creates do not.
    const isFromServer = error.metadata.has("grpc-status");
    const info = error.findDetails(ErrorInfoSchema)[0];
    const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    const isLost = !isFromServer && connectionLostCodes.has(error.code) && !isAbort(failure);
    return new TaraExportError(isLost ? Code.Unavailable : error.code, error.rawMessage, {
      reason: info?.reason,
      metadata: info?.metadata ?? {},
      fieldViolations: error
        .findDetails(BadRequestSchema)
        .flatMap((bad) => bad.fieldViolations)
        .map(({ field, description }) => ({ field, description })),
      retryDelayMs: retry && Number(retry.seconds) * 1000 + retry.nanos / 1_000_000,
      isFromServer,
      isUnclear: isLost && isUnclear(error),
      // The cause contains the server's unescaped text, and Node prints it with the error.
      cause: printable(error.rawMessage) === error.rawMessage ? failure : undefined,
    });
  }
}

/** Codes that connect uses if a connection ended, was reset, or delivered a truncated message. */
const connectionLostCodes = new Set([Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown, Code.InvalidArgument]);

/** Whether the caller aborted the call. */
function isAbort(failure: unknown): boolean {
  for (let error = failure; error instanceof Error; error = error.cause) {
    if (error.name === "AbortError") return true;
  }
  return false;
}

/** An error for a call that ended without a status. */
export function connectionLost(message: string): TaraExportError {
  return new TaraExportError(Code.Unavailable, message);
}

/** An error for a response that no tara-export server sends to a request for `name`. */
export function untrusted(name: string, problem: string): TaraExportError {
  const advice = "check the server's address, and that no other program is listening there";
  const message = `cannot use the server's response for ${name}: ${problem}; ${advice}`;
  return new TaraExportError(Code.Internal, message, { reason: ClientReason.UNTRUSTED_RESPONSE });
}

/** An error for a response that violates the protocol. */
export function protocolError(message: string): TaraExportError {
  return invalidResponse(`invalid response from the server: ${message}`);
}
