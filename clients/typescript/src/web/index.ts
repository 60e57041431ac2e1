/** The client for browsers: gRPC-Web through `fetch`. */
import { Code, ConnectError } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import { parseAddress } from "../address.js";
import type { ClientOptions } from "../calls.js";
import { Client } from "../client.js";
import { invalidResponse } from "../local-error.js";
import { checkInsecureToken } from "../token.js";

export * from "../index.js";

/**
 * Creates a client of the server at this URL. Its `CORS_ALLOWED_ORIGINS` must contain the page's origin.
 *
 * Throws a TypeError if the URL or token is not valid, or if the token would be sent without TLS to another machine.
 */
export function connect(url: string, options: ClientOptions = {}): Client {
  const address = parseAddress(url, false);
  if (address.socketPath !== undefined) throw new TypeError("a browser cannot connect to a Unix socket");
  checkInsecureToken(address, options);
  return new Client(createGrpcWebTransport({ baseUrl: address.url, fetch: checkedFetch }), options);
}

/** Fetches a response and checks its type, which the transport does not do. */
async function checkedFetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(input, init);
  } catch (cause) {
    if (cause instanceof Error && cause.name === "AbortError") throw cause;
    const causes = "that the server is running, its certificate, and that its CORS_ALLOWED_ORIGINS has this page";
    const message = `${cause instanceof Error ? cause.message : String(cause)}; the browser gives no reason: check`;
    throw new ConnectError(`${message} ${causes}`, Code.Unavailable, undefined, undefined, cause);
  }
  const type = response.headers.get("content-type") ?? "";
  if (response.ok && !response.headers.has("grpc-status") && !/^application\/grpc-web(\+proto)?\s*(;|$)/i.test(type)) {
    await response.body?.cancel();
    throw invalidResponse(`the response has the content type ${type || "none"} instead of gRPC-Web`);
  }
  const encoding = response.headers.get("grpc-encoding") ?? "identity";
  if (encoding !== "identity") {
    await response.body?.cancel();
    throw invalidResponse(`the response has a compression that this client does not know (${encoding})`);
  }
  return response;
}
