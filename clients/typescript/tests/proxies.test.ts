// Uploads behind nginx with its default limits, and behind a server of an earlier release.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectSocket, createServer } from "node:net";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { UploadSchema } from "../src/gen/tara/export/v1/upload_pb.js";
import { connect, Document_Kind } from "../src/node/index.js";
import { chunkSize } from "../src/upload.js";
import { World } from "./world.js";

const MIB = 1024 * 1024;

/** nginx with default settings, except for the folders of its files. `.ci/run client_typescript` installs it. */
class Nginx {
  private constructor(
    private readonly child: ChildProcess,
    readonly webUrl: string,
    readonly grpcUrl: string,
    private readonly log: string,
  ) {}

  static async start(folder: string, server: string): Promise<Nginx> {
    const own = join(folder, "nginx");
    mkdirSync(own);
    const [web, grpc] = [await freePort(), await freePort()];
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${own}/${name};`,
    );
    const configuration = `daemon off; pid ${own}/pid; error_log ${own}/error.log; events { }
      http { access_log off; ${paths.join(" ")}
        server { listen 127.0.0.1:${web}; location / { proxy_pass http://${server}; } }
        server { listen 127.0.0.1:${grpc} http2; location / { grpc_pass grpc://${server}; } } }`;
    writeFileSync(join(own, "nginx.conf"), configuration);
    const child = spawn("nginx", ["-c", join(own, "nginx.conf"), "-p", own], { stdio: "ignore" });
    const failed = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`nginx exited with ${code}`)));
    });
    failed.catch(() => {});
    await Promise.race([failed, Promise.all([listening(web), listening(grpc)])]);
    return new Nginx(child, `http://127.0.0.1:${web}`, `http://127.0.0.1:${grpc}`, join(own, "error.log"));
  }

  /** How many requests were larger than the limit. */
  refused(): number {
    return readFileSync(this.log, "utf8").split("client intended to send too large").length - 1;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill();
    await ended;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const isListening = await new Promise<boolean>((resolve) => {
      const socket = connectSocket(port, "127.0.0.1", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (isListening) return;
  }
}

function content(size: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 12) * seed) & 255);
}

suite("behind nginx with its limit of 1 MiB", () => {
  let world: World;
  let nginx: Nginx;
  before(async () => {
    world = await World.start();
    nginx = await Nginx.start(world.folder, new URL(world.serverUrl).host);
  });
  after(async () => {
    await nginx?.stop();
    await world?.stop();
  });

  for (const protocol of ["grpc-web", "grpc"] as const) {
    test(`documents of any size are uploaded over ${protocol}`, async () => {
      const client = connect(protocol === "grpc" ? nginx.grpcUrl : nginx.webUrl, { protocol });
      const before = nginx.refused();
      // Different content: the server keeps uploads.
      for (const seed of protocol === "grpc" ? [1, 2] : [3, 4]) {
        const bytes = content(9 * MIB + seed, seed);
        const done: number[] = [];
        const uploaded = await client.upload(bytes, { onProgress: (doneBytes) => done.push(doneBytes) });
        assert.equal(uploaded.sizeBytes, bytes.byteLength);
        assert.equal(done.at(-1), bytes.byteLength);
      }
      assert.equal(nginx.refused() - before, 1, "the client remembers the limit");
    });
  }

  test("documents that fit into a request without a proxy are uploaded too", async () => {
    const client = connect(nginx.webUrl, { protocol: "grpc-web" });
    const documents = [Document_Kind.BEFORE, Document_Kind.AFTER, Document_Kind.GUIDELINES].map((kind) => ({
      kind,
      fileName: "report.docx",
      content: content(700_000, kind),
    }));
    const result = await client.export({ review: { documentName: "report.docx" }, documents }).result();
    assert.equal(result.artifactCount > 3, true);
  });
});

test("chunks have the size that the server announces", () => {
  const announced = (chunkSizeBytes: number, minChunkSizeBytes: number) =>
    create(UploadSchema, { chunkSizeBytes, minChunkSizeBytes });
  assert.equal(chunkSize(announced(8 * MIB, MIB / 2), false), 8 * MIB);
  assert.equal(chunkSize(announced(8 * MIB, MIB / 2), true), MIB / 2);
  // An earlier release, and values that no server sends.
  for (const min of [0, -1, 9 * MIB]) assert.equal(chunkSize(announced(8 * MIB, min), true), 8 * MIB);
});
