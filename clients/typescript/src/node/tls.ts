import { connect as connectSocket } from "node:net";
import { type ConnectionOptions, connect as connectTls, type SecureContextOptions } from "node:tls";
import { ConnectError } from "@connectrpc/connect";
import type { Address } from "../address.js";
import type { TaraExportError } from "../error.js";
import { localError, mayBeTls, tlsFailed } from "../local-error.js";

/** Certificates in PEM: the trusted authorities instead of Node's, and the client certificate with its key. */
export type TlsOptions = Pick<SecureContextOptions, "ca" | "cert" | "key" | "passphrase">;

/** The time for one connection that finds the cause of a failure. */
const PROBE_MS = 3_000;

/** The shortest time between two such connections. */
const PROBE_INTERVAL_MS = 10_000;

/** Returns a function that finds the cause of an error if TLS, or a connection without TLS, is not possible. */
export function tlsExplainer(address: Address, tls: TlsOptions): (error: TaraExportError) => Promise<TaraExportError> {
  let lastMs = Number.NEGATIVE_INFINITY;
  return async (error) => {
    if (!mayBeTls(error) || performance.now() - lastMs < PROBE_INTERVAL_MS) return error;
    const explained = await explainTls(error, address, tls);
    if (explained === error) lastMs = performance.now();
    return explained;
  };
}

async function explainTls(error: TaraExportError, address: Address, tls: TlsOptions): Promise<TaraExportError> {
  const failure = await handshake(address, tls);
  if (address.isTls) {
    const cause = failure && localError(ConnectError.from(failure));
    return cause ?? error;
  }
  const isTls = failure === undefined || /ALERT/.test(String((failure as { code?: unknown }).code));
  return isTls ? tlsFailed(`${address.url}: the server uses TLS on this port: use https:// instead of http://`) : error;
}

/** Makes a TLS handshake. Returns its error; `undefined` if it succeeds. */
function handshake(address: Address, tls: TlsOptions): Promise<Error | undefined> {
  const { host, port, socketPath, isTls } = address;
  // Without TLS, the certificate does not matter: this only detects TLS.
  const options: ConnectionOptions = isTls ? tls : { rejectUnauthorized: false };
  const raw = socketPath === undefined ? connectSocket(port, host) : connectSocket(socketPath);
  return new Promise((resolve) => {
    const end = (error?: Error) => {
      socket.destroy();
      raw.destroy();
      resolve(error);
    };
    raw.setTimeout(PROBE_MS, () => end(new Error("timeout")));
    raw.on("error", end);
    const name = /^[\d.]+$|:/.test(host) ? {} : { servername: host };
    const socket = connectTls({ ...options, ...name, host, socket: raw, ALPNProtocols: ["h2", "http/1.1"] }, () => {
      if (!isTls) return end();
      // A server that refuses the client's certificate says so after the handshake of TLS 1.3.
      socket.on("data", () => end());
      socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0");
    });
    socket.on("error", end);
    socket.on("close", () => end(new Error("closed")));
  });
}

/** The options of Node's HTTP clients for this address. */
export function connectionOptions(address: Address, tls: TlsOptions, protocol: "grpc" | "grpc-web"): object {
  const { socketPath, isTls, host } = address;
  const secured = isTls ? tls : {};
  if (socketPath === undefined) return secured;
  if (protocol === "grpc-web") return { ...secured, socketPath };
  const plain = () => connectSocket(socketPath);
  const encrypted = () => connectTls({ ...tls, path: socketPath, servername: host, ALPNProtocols: ["h2"] });
  return { ...secured, createConnection: isTls ? encrypted : plain };
}
