/** The client for browsers: gRPC-Web through `fetch`. */
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import type { ClientOptions } from "../calls.js";
import { Client } from "../client.js";

export * from "../index.js";

/** Creates a client of the server at this URL. Its `CORS_ALLOWED_ORIGINS` must contain the page's origin. */
export function connect(url: string, options: ClientOptions = {}): Client {
  return new Client(createGrpcWebTransport({ baseUrl: url }), options);
}
