// Uploads behind nginx with its default limits, and behind a server of an earlier release.
import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { UploadSchema } from "../src/gen/tara/export/v1/upload_pb.js";
import { connect, Document_Kind } from "../src/node/index.js";
import { chunkSize } from "../src/upload.js";
import { Nginx } from "./nginx.js";
import { World } from "./world.js";

const MIB = 1024 * 1024;

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

  for (const protocol of ["grpc-web", "grpc"] as const) {
    test(`a review that is too large names the setting over ${protocol}`, async () => {
      const client = connect(protocol === "grpc" ? nginx.grpcUrl : nginx.webUrl, { protocol });
      const item = { id: "1", description: "x".repeat(1000) };
      const suggestions = Array.from({ length: 1500 }, (_, index) => ({ name: `Section ${index}`, items: [item] }));
      await assert.rejects(client.export({ review: { documentName: "report.docx", suggestions } }).result(), {
        reason: "HTTP_ERROR",
        message: /413.*client_max_body_size/s,
      });
    });
  }
});

test("chunks have the size that the server announces", () => {
  const announced = (chunkSizeBytes: number, minChunkSizeBytes: number) =>
    create(UploadSchema, { chunkSizeBytes, minChunkSizeBytes });
  assert.equal(chunkSize(announced(8 * MIB, MIB / 2), false), 8 * MIB);
  assert.equal(chunkSize(announced(8 * MIB, MIB / 2), true), MIB / 2);
  // An earlier release, and values that no server sends.
  for (const min of [0, -1, 9 * MIB]) assert.equal(chunkSize(announced(8 * MIB, min), true), 8 * MIB);
});
