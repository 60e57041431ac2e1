// Calls a server over the Connect protocol with connect-es as it comes: node connect.mjs URL EXPORT
import assert from "node:assert/strict";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { ExportService } from "../dist/gen/tara/export/v1/service_pb.js";

const [baseUrl, name] = process.argv.slice(2);

for (const httpVersion of ["1.1", "2"]) {
  for (const useBinaryFormat of [true, false]) {
    for (const useHttpGet of [true, false]) {
      const client = createClient(
        ExportService,
        createConnectTransport({ baseUrl, httpVersion, useBinaryFormat, useHttpGet, defaultTimeoutMs: 20_000 }),
      );
      const read = await client.getExport({ name });
      assert.equal(read.export.name, name);
      assert.equal(typeof read.export.sizeBytes, "bigint");

      const events = [];
      for await (const event of client.watchExport({ name })) events.push(event.event.case);
      assert.equal(events.at(-1), "completed");

      const unknown = { name: "exports/00000000-0000-4000-8000-000000000000" };
      await assert.rejects(client.getExport(unknown), (error) => {
        assert(error instanceof ConnectError);
        assert.equal(error.code, Code.NotFound);
        assert.deepEqual(
          error.details.map((detail) => detail.type),
          ["google.rpc.ErrorInfo"],
        );
        return true;
      });
      await assert.rejects(
        (async () => {
          for await (const _ of client.watchExport(unknown)) assert.fail("an event of an unknown export");
        })(),
        (error) => error.code === Code.NotFound,
      );
      await assert.rejects(client.previewExport({}), (error) => error.code === Code.InvalidArgument);
    }
  }
}

// A stream of requests, and a response that is larger than one packet.
const client = createClient(ExportService, createConnectTransport({ baseUrl, httpVersion: "2" }));
const content = new Uint8Array(3_000_000).map((_, index) => index % 251);
const { upload } = await client.createUpload({ sizeBytes: BigInt(content.length) });
async function* pieces() {
  const half = content.length / 2;
  yield { name: upload.name, offset: 0n, data: content.subarray(0, half) };
  yield { offset: BigInt(half), data: content.subarray(half), finish: true };
}
const finished = await client.uploadDocument(pieces());
assert.equal(finished.upload.committedSizeBytes, BigInt(content.length));
console.log("connect-es: unary, GET, streams and errors work over HTTP/1.1 and HTTP/2");
process.exit(0);
