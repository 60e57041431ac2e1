// An HTTP server with the response of a row of clients/hostile-server.json, like a proxy or another program.
import { createServer, type IncomingHttpHeaders } from "node:http";
import { createServer as createHttp2Server } from "node:http2";
import type { AddressInfo, Socket } from "node:net";

/** A row of `http`; clients/README.md documents it. */
export interface HttpRow {
  about: string;
  protocols?: string[];
  status: number;
  headers?: Record<string, string>;
  is_grpc?: boolean;
  body?: string;
  body_base64?: string;
  message_bytes?: number;
  header_bytes?: number;
  trailers?: Record<string, string>;
  trailer_bytes?: number;
  retried: boolean;
  reason: string;
  error_contains: string[];
}

type Response = Pick<HttpRow, "status"> & Partial<HttpRow>;

/** A server that sends the same response to every request. */
export interface HttpServer {
  url: string;
  /** The headers of each request. */
  requests: IncomingHttpHeaders[];
  stop(): Promise<void>;
}

/** Starts a server that sends the row's response to every request, after it has read the request. */
export async function startHttpServer(row: Response, protocol: "grpc" | "grpc-web"): Promise<HttpServer> {
  const requests: IncomingHttpHeaders[] = [];
  const sockets = new Set<Socket>();
  const server = protocol === "grpc" ? http2Server(row, requests) : http1Server(row, requests);
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = async () => {
    const closed = new Promise((resolve) => server.close(resolve));
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests, stop };
}

function http1Server(row: Response, requests: IncomingHttpHeaders[]) {
  return createServer({ maxHeaderSize: 1024 * 1024 }, (request, response) => {
    requests.push(request.headers);
    request.resume().on("end", () => {
      response.writeHead(row.status, headersOf(row, "application/grpc-web+proto"));
      response.end(Buffer.concat([bodyOf(row), ...trailerFrame(row)]));
    });
  });
}

function http2Server(row: Response, requests: IncomingHttpHeaders[]) {
  const server = createHttp2Server({ maxSendHeaderBlockLength: 1024 * 1024 });
  server.on("sessionError", () => {});
  server.on("stream", (stream, headers) => {
    requests.push(headers);
    stream.on("error", () => {});
    stream.resume().on("end", () => {
      const trailers = trailersOf(row);
      stream.respond(
        { ":status": row.status, ...headersOf(row, "application/grpc") },
        { waitForTrailers: trailers !== undefined },
      );
      stream.on("wantTrailers", () => stream.sendTrailers(trailers ?? {}));
      stream.end(bodyOf(row));
    });
  });
  return server;
}

function headersOf(row: Response, type: string): Record<string, string> {
  const filler = row.header_bytes ? { "x-filler": "a".repeat(row.header_bytes) } : {};
  return { ...row.headers, ...(row.is_grpc && { "content-type": type }), ...filler };
}

function trailersOf(row: Response): Record<string, string> | undefined {
  const filler = row.trailer_bytes ? { "x-filler": "a".repeat(row.trailer_bytes) } : {};
  return row.trailers && { ...row.trailers, ...filler };
}

function bodyOf(row: Response): Buffer {
  if (row.message_bytes !== undefined) return frame(0, Buffer.alloc(row.message_bytes));
  return row.body_base64 ? Buffer.from(row.body_base64, "base64") : Buffer.from(row.body ?? "");
}

function trailerFrame(row: Response): Buffer[] {
  const trailers = Object.entries(trailersOf(row) ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
  return trailers.length > 0 ? [frame(0x80, Buffer.from(trailers.join("")))] : [];
}

function frame(flags: number, message: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt8(flags);
  header.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([header, message]);
}
