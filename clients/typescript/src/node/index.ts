/** The client for Node: gRPC over HTTP/2, or gRPC-Web over HTTP/1.1. */
import { createHash } from "node:crypto";

import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

import type { ClientOptions } from "../calls.js";
import { Client, type TransferSettings } from "../client.js";
import type { Artifact } from "../gen/tara/export/v1/export_pb.js";
import type { BundleArchive } from "../gen/tara/export/v1/service_pb.js";
import type { Hasher } from "../source.js";
import { writeFileAtomically } from "./files.js";

export * from "../index.js";
export { fileContent } from "./files.js";

/** Options of the connection. */
export interface NodeOptions extends Omit<ClientOptions, "uploads" | "sha256"> {
  /** `grpc` (default) needs HTTP/2 end to end; `grpc-web` works over HTTP/1.1. */
  protocol?: "grpc" | "grpc-web";
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

/** Creates a client of the server at this URL, such as `http://127.0.0.1:8080`. It connects on the first call. */
export function connect(url: string, { protocol = "grpc", ...options }: NodeOptions = {}): NodeClient {
  const uploads = protocol === "grpc" ? "stream" : "chunks";
  return new NodeClient(transport(url, protocol), { ...options, uploads, sha256 });
}

/** The largest message that is sent or received. Servers have lower limits. */
const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;

function transport(baseUrl: string, protocol: "grpc" | "grpc-web"): Transport {
  const limits = { readMaxBytes: MAX_MESSAGE_BYTES, writeMaxBytes: MAX_MESSAGE_BYTES };
  if (protocol === "grpc-web") return createGrpcWebTransport({ baseUrl, httpVersion: "1.1", ...limits });
  // A silently dead connection is detected after the sum of both.
  const keepalive = { pingIntervalMs: 20_000, pingTimeoutMs: 20_000 };
  // An idle connection must not keep the program running.
  return createGrpcTransport({ baseUrl, ...limits, ...keepalive, idleConnectionTimeoutMs: 1_000 });
}

function sha256(): Hasher {
  const hash = createHash("sha256");
  return { update: (data) => void hash.update(data), hex: () => hash.digest("hex") };
}
