import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";
import { printable } from "./printable.js";

/** One field of a bad request. */
export interface FieldViolation {
  /** The field's path in the request. */
  field: string;
  /** What is wrong with it, for a person. */
  description: string;
}

interface ErrorFields {
  reason?: string | undefined;
  metadata?: Readonly<Record<string, string>>;
  fieldViolations?: readonly FieldViolation[];
  retryDelayMs?: number | undefined;
  isAnswer?: boolean;
  cause?: unknown;
}

/** Reasons that this client gives itself; the server's are in the README of the project. */
export const ClientReason = {
  /** Nothing was heard for so long that the export is no longer followed. It may go on. */
  LOST_CONTACT: "LOST_CONTACT",
  /** Other bytes arrived than the server says the file has. */
  DAMAGED: "DAMAGED",
  /** An answer that no tara-export server gives, such as a path that leads out of its folder. Nothing of it was used. */
  UNTRUSTED_ANSWER: "UNTRUSTED_ANSWER",
  /** The request has a number that can't be sent without rounding it. */
  NOT_EXACT: "NOT_EXACT",
  /** A document's content can't be read. */
  UNREADABLE: "UNREADABLE",
} as const;

/** Why a call failed: the gRPC status with its `google.rpc` details. */
export class TaraExportError extends Error {
  override readonly name = "TaraExportError";
  /** The gRPC code. A connection that was cut has UNAVAILABLE, as in other gRPC clients. */
  readonly code: Code;
  /** The UPPER_SNAKE reason of `google.rpc.ErrorInfo`, such as `REQUEST_ID_REUSED`, or a {@link ClientReason}. */
  readonly reason: string | undefined;
  /** What `google.rpc.ErrorInfo` says besides, such as `export`, the name of the first export. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Every violated field of `google.rpc.BadRequest`. */
  readonly fieldViolations: readonly FieldViolation[];
  /** How long to wait before trying again, of `google.rpc.RetryInfo`. */
  readonly retryDelayMs: number | undefined;
  /** Whether the server gave this answer; otherwise the call was lost on its way or refused here. */
  readonly isAnswer: boolean;

  constructor(code: Code, message: string, fields: ErrorFields = {}) {
    super(printable(message), fields.cause === undefined ? undefined : { cause: fields.cause });
    this.code = code;
    this.reason = fields.reason;
    this.metadata = fields.metadata ?? {};
    this.fieldViolations = fields.fieldViolations ?? [];
    this.retryDelayMs = fields.retryDelayMs;
    this.isAnswer = fields.isAnswer ?? false;
  }

  /** The code's name, such as `NOT_FOUND`. */
  get codeName(): string {
    return Code[this.code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
  }

  /** Any failure of a call as this class. */
  static from(failure: unknown): TaraExportError {
    // connect wraps what a request's own source throws.
    for (let error = failure; error instanceof Error; error = error.cause) {
      if (error instanceof TaraExportError) return error;
    }
    const error = ConnectError.from(failure);
    // Only a status that came over the wire has it; connect makes its own errors without.
    const isAnswer = error.metadata.has("grpc-status");
    const info = error.findDetails(ErrorInfoSchema)[0];
    const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    const isCut = !isAnswer && lostCodes.has(error.code) && !isAbort(failure);
    return new TaraExportError(isCut ? Code.Unavailable : error.code, error.rawMessage, {
      reason: info?.reason,
      metadata: info?.metadata ?? {},
      fieldViolations: error
        .findDetails(BadRequestSchema)
        .flatMap((bad) => bad.fieldViolations)
        .map(({ field, description }) => ({ field, description })),
      retryDelayMs: retry && Number(retry.seconds) * 1000 + retry.nanos / 1_000_000,
      isAnswer,
      // It has the server's text as it came, which Node prints with the error.
      cause: printable(error.rawMessage) === error.rawMessage ? failure : undefined,
    });
  }
}

/** What connect calls a connection that ended, was reset, or brought something cut short. */
const lostCodes = new Set([Code.Aborted, Code.Canceled, Code.Internal, Code.Unknown, Code.InvalidArgument]);

/** Whether the caller gave the call up. */
function isAbort(failure: unknown): boolean {
  for (let error = failure; error instanceof Error; error = error.cause) {
    if (error.name === "AbortError") return true;
  }
  return false;
}

/** A call that was cut without a status. */
export function lost(message: string): TaraExportError {
  return new TaraExportError(Code.Unavailable, message);
}

/** An answer that no right server gives to a request for `name`. */
export function untrusted(name: string, problem: string): TaraExportError {
  const advice = "check the server's address, and that no other program answers there";
  const message = `cannot use the server's answer for ${name}: ${problem}; ${advice}`;
  return new TaraExportError(Code.Internal, message, { reason: ClientReason.UNTRUSTED_ANSWER });
}

/** An answer that the protocol does not allow. */
export function protocolError(message: string): TaraExportError {
  return new TaraExportError(Code.Internal, `the server sent an answer that makes no sense: ${message}`);
}
