// Downloads from a fake server that sends wrong bytes or ends streams early.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { ExportService } from "../src/gen/tara/export/v1/service_pb.js";
import { Client, type DownloadArtifactRequest } from "../src/index.js";

const content = new TextEncoder().encode("the whole file");
const artifact = {
  path: "readable_report.txt",
  sizeBytes: BigInt(content.byteLength),
  sha256: createHash("sha256").update(content).digest("hex"),
  mediaType: "text/plain",
};

/** A client of a fake server that sends these bytes for a request and then ends the call. */
function clientOf(bytesOf: (request: DownloadArtifactRequest) => Uint8Array, end: () => void = () => {}): Client {
  const transport = createRouterTransport(({ service }) => {
    service(ExportService, {
      async *downloadArtifact(request) {
        yield { part: { case: "artifact", value: artifact } };
        yield { part: { case: "data", value: bytesOf(request) } };
        end();
      },
    });
  });
  return new Client(transport, { policy: { minDelayMs: 1, progressTimeoutMs: 1000 } });
}

const download = (client: Client) => client.artifactBlob("exports/x", artifact.path);

test("download that matches the manifest is returned", async () => {
  const { blob } = await download(clientOf(() => content));
  assert.equal(await blob.text(), "the whole file");
  assert.equal(blob.type, "text/plain");
});

test("wrong or missing bytes are DAMAGED", async () => {
  const wrong = clientOf(() => content.map((byte) => byte ^ 1));
  await assert.rejects(download(wrong), { codeName: "DATA_LOSS", reason: "DAMAGED" });
  const few = clientOf(() => content.subarray(1));
  await assert.rejects(download(few), { codeName: "DATA_LOSS", reason: "DAMAGED" });
});

test("cut download resumes at the next byte", async () => {
  const offsets: bigint[] = [];
  const client = clientOf(
    ({ offset }) => {
      offsets.push(offset);
      return content.subarray(Number(offset), Number(offset) + 5);
    },
    () => {
      if (offsets.length < 3) throw new ConnectError("cut", Code.Unavailable);
    },
  );
  const { blob } = await download(client);
  assert.equal(await blob.text(), "the whole file");
  assert.deepEqual(offsets, [0n, 5n, 10n]);
});
