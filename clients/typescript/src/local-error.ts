/** Errors that are no lost connection: finds their cause, and says what to do next. */
import { Code, type ConnectError } from "@connectrpc/connect";

import { ClientReason, TaraExportError } from "./error.js";

/** The largest message that is sent or received. Servers have lower limits. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

const CHECK_ADDRESS = "check the server's address, and the proxy in front of the server";
const REFUSES = "a proxy refuses the call: give it the credentials that it needs";
const IS_RUNNING = "check that the server is running, and the address at which the proxy expects it";
const ADVICE: Readonly<Record<number, string>> = {
  401: REFUSES,
  403: REFUSES,
  407: REFUSES,
  413:
    "a proxy limits the size of requests: raise its limit (nginx: client_max_body_size), " +
    "or connect without this proxy",
  429: "send fewer calls at the same time, or raise the limit of the proxy",
  431: "the request's headers are too large: use a shorter token, or raise the limit of the proxy",
  502: IS_RUNNING,
  503: IS_RUNNING,
  504:
    "the server did not respond within the timeout of a proxy: check that the server is running, " +
    "and raise this timeout (nginx: proxy_read_timeout)",
};

/** An error for an HTTP response without a gRPC status. */
function httpError(status: number, code: Code): TaraExportError {
  let advice = ADVICE[status] ?? (status >= 500 ? "check the log of the proxy" : CHECK_ADDRESS);
  if (status >= 300 && status < 400) advice = `${CHECK_ADDRESS} (redirects are not followed)`;
  const metadata = { http_status: String(status) };
  const message = `HTTP status ${status} instead of a gRPC response: ${advice}`;
  return new TaraExportError(code, message, { reason: ClientReason.HTTP_ERROR, metadata });
}

/** An error for a response that is not gRPC, or that this client cannot read. */
export function invalidResponse(problem: string): TaraExportError {
  return new TaraExportError(Code.Internal, `${problem}: ${CHECK_ADDRESS}`, { reason: ClientReason.INVALID_RESPONSE });
}

/** An error for repeated responses that end without a status. */
export function unclearResponse(error: TaraExportError): TaraExportError {
  return invalidResponse(`${error.message} (the response is not gRPC, or it ended early)`);
}

/** An error for a request that is too large for every server. */
export function requestTooLarge(sizeBytes?: number): TaraExportError {
  const size = sizeBytes === undefined ? "more bytes than can be sent" : `${sizeBytes} bytes`;
  const message = `the request has ${size}, and at most ${MAX_MESSAGE_BYTES} can be sent: upload large documents first`;
  return new TaraExportError(Code.ResourceExhausted, message, { reason: ClientReason.REQUEST_TOO_LARGE });
}

/** An error for a TLS connection that is not possible. */
export function tlsFailed(problem: string): TaraExportError {
  return new TaraExportError(Code.FailedPrecondition, problem, { reason: ClientReason.TLS_FAILED });
}

/** The cause of an error that connect creates, if it is no lost connection. */
export function localError(error: ConnectError): TaraExportError | undefined {
  const message = error.rawMessage;
  if (error.metadata.has("grpc-status")) {
    return /^invalid grpc-status/.test(message) ? invalidResponse(message) : undefined;
  }
  const status = /^HTTP (\d{3})$/.exec(message)?.[1];
  if (status) return httpError(Number(status), error.code);
  if (/^unsupported content type/.test(message)) return invalidResponse(message);
  if (/^unsupported response encoding|decompress|^received compressed|compression/.test(message)) {
    return invalidResponse(`the response has a compression that this client does not know (${message})`);
  }
  // After a connection was lost, a message is truncated before it is parsed.
  if (/^parse binary|^cannot decode|^illegal|^invalid wire type/.test(message)) return invalidResponse(message);
  if (/^serialize binary|^cannot encode/.test(message)) return new TaraExportError(Code.InvalidArgument, message);
  if (/writeMaxBytes/.test(message)) return requestTooLarge();
  const size = /^message size (\d+) is larger than/.exec(message)?.[1];
  if (size) return Number(size) > NOT_A_SIZE ? invalidResponse("the response is not gRPC-Web") : messageTooLarge();
  return error.code === Code.Unauthenticated ? undefined : nodeError(error);
}

/** The first bytes of a text, read as the size of a message, are more than this. */
const NOT_A_SIZE = 0x09_00_00_00;

function messageTooLarge(): TaraExportError {
  const advice = "request fewer exports per page, or download the file instead of reading the report";
  const message = `the server sent a message of more than ${MAX_MESSAGE_BYTES / 1024 ** 2} MiB: ${advice}`;
  return new TaraExportError(Code.ResourceExhausted, message, { reason: ClientReason.RESPONSE_TOO_LARGE });
}

/** The codes of Node's errors for certificates and TLS. */
const CERTIFICATE_CODES =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|HOSTNAME_MISMATCH|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH|ERR_TLS_CERT)/;

function nodeError(error: ConnectError): TaraExportError | undefined {
  for (const { code, message, hostname } of sources(error)) {
    if (code === "ENOTFOUND") {
      const text = `the host ${hostname ?? ""} does not exist: check the name in the server's address`;
      return new TaraExportError(Code.FailedPrecondition, text, { reason: ClientReason.HOST_NOT_FOUND });
    }
    if (CERTIFICATE_CODES.test(code)) {
      const advice = "set the certificate of its authority (tls.ca), or use the name that the certificate is for";
      return tlsFailed(`the server's certificate is not accepted: ${message}; ${advice}`);
    }
    // EPROTO has the reason only in its text.
    if (/^ERR_SSL_|^EPROTO$/.test(code) && /wrong.version.number|packet.length|http.request/i.test(code + message)) {
      return tlsFailed("the server does not use TLS on this port: use http:// instead of https://, or another port");
    }
    if (/^ERR_SSL_|^EPROTO$/.test(code)) {
      const advice = "it may require a client certificate (tls.cert and tls.key)";
      return tlsFailed(`the server does not accept the TLS connection (${code}): ${advice}`);
    }
    if (/^HPE_HEADER_OVERFLOW$|^ERR_HTTP2_TOO_MANY/.test(code)) {
      const text = "the headers of the response exceed the limit of this client";
      const advice = "check which headers a proxy adds (node --max-http-header-size)";
      return new TaraExportError(Code.ResourceExhausted, `${text}: ${advice}`, {
        reason: ClientReason.RESPONSE_TOO_LARGE,
      });
    }
  }
  return undefined;
}

/** Node's errors in the chain of causes. */
function* sources(failure: unknown): Generator<{ code: string; message: string; hostname?: string }> {
  for (let error = failure; error instanceof Error; error = error.cause) {
    const { code, hostname } = error as { code?: unknown; hostname?: unknown };
    if (typeof code !== "string") continue;
    yield { code, message: error.message, ...(typeof hostname === "string" && { hostname }) };
  }
}

/** HTTP/2 errors of a peer that does not accept what this client sends, or sends what it does not accept. */
const H2_PROTOCOL = /NGHTTP2_(PROTOCOL|FRAME_SIZE|COMPRESSION|FLOW_CONTROL)_ERROR/;

/** Whether an error of a call leaves open if the connection was lost, or the response is not gRPC. */
export function isUnclear(error: ConnectError): boolean {
  const isProtocol = /^protocol error|^missing|^premature|^incomplete|Parse Error|Protocol error/i;
  return [...sources(error)].length === 0
    ? isProtocol.test(error.rawMessage)
    : [...sources(error)].some(({ code, message }) => code.startsWith("HPE_") || H2_PROTOCOL.test(message));
}

/** Whether a connection failed in a way that TLS can explain. */
export function mayBeTls(error: TaraExportError): boolean {
  // The response of a server with TLS to a request without it.
  if (error.reason === ClientReason.HTTP_ERROR && error.metadata.http_status === "400") return true;
  if (error.code !== Code.Unavailable || error.reason !== undefined || error.isFromServer) return false;
  return [...sources(error.cause)].every(({ code }) => !/^(ECONNREFUSED|ENOENT|EAI_|ETIMEDOUT)/.test(code));
}
