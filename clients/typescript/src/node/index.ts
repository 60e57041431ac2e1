/** The client for Node: gRPC over HTTP/2, or gRPC-Web over HTTP/1.1. */
import { createHash, X509Certificate } from "node:crypto";
import { createSecureContext } from "node:tls";

import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport, Http2SessionManager } from "@connectrpc/connect-node";

import { type Address, parseAddress } from "../address.js";
import type { ClientOptions } from "../calls.js";
import { Client, type TransferSettings } from "../client.js";
import type { Artifact } from "../gen/tara/export/v1/export_pb.js";
import type { BundleArchive } from "../gen/tara/export/v1/service_pb.js";
import { MAX_MESSAGE_BYTES } from "../local-error.js";
import type { Hasher } from "../source.js";
import { checkInsecureToken } from "../token.js";
import { writeFileAtomically } from "./files.js";
import { connectionOptions, type TlsOptions, tlsExplainer } from "./tls.js";

export * from "../index.js";
export { fileContent } from "./files.js";
export type { TlsOptions } from "./tls.js";

/** Options of the connection. */
export interface NodeOptions extends Omit<ClientOptions, "uploads" | "sha256" | "explain"> {
  /** `grpc` (default) needs HTTP/2 end to end; `grpc-web` works over HTTP/1.1. */
  protocol?: "grpc" | "grpc-web";
  /**
   * Certificates. For an address without `http://` or `https://`, they, or an empty object, enable TLS.
   */
  tls?: TlsOptions;
}

/** A client that can also write downloads to files. */
export class NodeClient extends Client {
  /**
   * Downloads one file of a bundle and verifies it against the manifest's digest. The file is written
   * completely or not at all, and replaces an existing file.
   */
  async downloadArtifact(name: string, path: string, file: string, settings: TransferSettings = {}): Promise<Artifact> {
    const download = await this.openArtifact(name, path, settings);
    await writeFileAtomically(file, download, settings.onProgress);
    return download.artifact;
  }

  /** Downloads a whole bundle as a ZIP file. The file is written as by {@link downloadArtifact}. */
  async downloadBundle(name: string, file: string, settings: TransferSettings = {}): Promise<BundleArchive> {
    const download = await this.openBundle(name, settings);
    await writeFileAtomically(file, download, settings.onProgress);
    return download.archive;
  }
}

/**
 * Creates a client of a server: a URL such as `http://127.0.0.1:8080`, `host:port`, `dns:///host:port` or
 * `unix:PATH`. It connects on the first call.
 *
 * Throws a TypeError if the address, token or a certificate is not valid, or if the token would be sent without TLS
 * to another machine.
 */
export function connect(server: string, { protocol = "grpc", tls, ...options }: NodeOptions = {}): NodeClient {
  const address = parseAddress(server, tls !== undefined);
  if (tls && !address.isTls) throw new TypeError(`certificates need TLS: use https:// instead of ${address.url}`);
  checkCertificates(tls ?? {});
  checkInsecureToken(address, options);
  const uploads = protocol === "grpc" ? "stream" : "chunks";
  const explain = tlsExplainer(address, tls ?? {});
  return new NodeClient(transport(address, protocol, tls ?? {}), { ...options, uploads, sha256, explain });
}

function checkCertificates(tls: TlsOptions): void {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw new TypeError("a client certificate needs both tls.cert and tls.key");
  }
  try {
    createSecureContext(tls);
    // createSecureContext ignores a text that is not a certificate.
    for (const ca of tls.ca === undefined ? [] : [tls.ca].flat()) new X509Certificate(ca);
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(`the certificates of the option tls are not valid PEM: ${message}`, { cause });
  }
}

function transport(address: Address, protocol: "grpc" | "grpc-web", tls: TlsOptions): Transport {
  const baseUrl = address.url;
  const nodeOptions = connectionOptions(address, tls, protocol);
  const limits = { readMaxBytes: MAX_MESSAGE_BYTES, writeMaxBytes: MAX_MESSAGE_BYTES };
  if (protocol === "grpc-web") return createGrpcWebTransport({ baseUrl, httpVersion: "1.1", nodeOptions, ...limits });
  // A silently dead connection is detected after the sum of both.
  const keepalive = { pingIntervalMs: 20_000, pingTimeoutMs: 20_000 };
  // An idle connection must not keep the program running.
  const sessionOptions = { ...keepalive, idleConnectionTimeoutMs: 1_000 };
  const sessionManager = new SessionManager(baseUrl, sessionOptions, nodeOptions);
  return createGrpcTransport({ baseUrl, sessionManager, ...limits });
}

/** Connections whose requests name an IPv6 host in brackets, which Node omits. */
class SessionManager extends Http2SessionManager {
  override request(...[method, path, headers, options]: Parameters<Http2SessionManager["request"]>) {
    const { host } = new URL(this.authority);
    return super.request(method, path, host.startsWith("[") ? { ...headers, ":authority": host } : headers, options);
  }
}

function sha256(): Hasher {
  const hash = createHash("sha256");
  return { update: (data) => void hash.update(data), hex: () => hash.digest("hex") };
}
