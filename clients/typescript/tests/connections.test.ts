// Errors that are no lost connection: responses of proxies and other programs, TLS and names.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, suite, test } from "node:test";

import { type ByteSource, connect, Document_Kind, fileContent, printable, TaraExportError } from "tara-export/node";

import { Authority } from "./authority.js";
import { type HttpRow, startHttpServer } from "./http-server.js";
import { root, World } from "./world.js";

interface ConnectionRow {
  about: string;
  scheme: string;
  server: string;
  certificate?: string;
  client?: string[];
  address?: string;
  retried: boolean;
  reason: string;
  error_contains: string[];
}

const shared = JSON.parse(readFileSync(join(root, "clients/hostile-server.json"), "utf8")) as {
  export: string;
  http: HttpRow[];
  connections: ConnectionRow[];
};
const MAX_REQUESTS = 4;
const MAX_MS = 10_000;
const authority = new Authority();
after(() => authority.remove());

/** The policy for a row: so short that a retried error ends the test soon. */
const policyOf = ({ retried }: { retried: boolean }) =>
  retried ? { progressTimeoutMs: 1_500, minDelayMs: 50, deadlineMs: 1_500 } : {};

/** Node has no limit below the size of these rows; the calls get their status. */
const isWithinLimits = (row: HttpRow) => row.header_bytes !== undefined || row.trailer_bytes !== undefined;

async function failureOf(call: () => Promise<unknown>): Promise<TaraExportError> {
  const start = Date.now();
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof TaraExportError, String(error));
    assert.ok(Date.now() - start < MAX_MS, `after ${Date.now() - start} ms: ${error.message}`);
    assert.equal(printable(error.message), error.message);
    return error;
  }
  assert.fail("the call succeeds");
}

function check(error: TaraExportError, row: { retried: boolean; reason: string; error_contains: string[] }): void {
  assert.equal(error.reason, row.retried ? "LOST_CONTACT" : row.reason, error.message);
  if (row.retried) assert.equal((error.cause as TaraExportError).reason, row.reason || undefined);
  for (const text of row.error_contains)
    assert.ok(error.message.includes(text), `${text} is missing: ${error.message}`);
}

for (const protocol of ["grpc", "grpc-web"] as const) {
  suite(`over ${protocol}`, () => {
    for (const row of shared.http) {
      if (!(row.protocols ?? [protocol]).includes(protocol) || isWithinLimits(row)) continue;
      test(`response of another program is reported: ${row.about}`, async () => {
        const server = await startHttpServer(row, protocol);
        try {
          const client = connect(server.url, { protocol, policy: policyOf(row) });
          check(await failureOf(() => client.watch(shared.export).result()), row);
          if (row.retried) assert.ok(server.requests.length >= 2);
          else assert.ok(server.requests.length <= MAX_REQUESTS, `${server.requests.length} requests`);
          const unary = await failureOf(() => connect(server.url, { protocol }).getExport(shared.export));
          check(unary, { ...row, retried: false });
        } finally {
          await server.stop();
        }
      });
    }

    for (const row of shared.connections) {
      test(`failed connection is reported: ${row.about}`, async () => {
        const { address, stop } = await failingServer(row);
        const tls = row.scheme === "https" ? { tls: row.client?.includes("ca") ? { ca: authority.ca } : {} } : {};
        try {
          const client = connect(`${row.scheme}://${address}`, { protocol, policy: policyOf(row), ...tls });
          check(await failureOf(() => client.watch(shared.export).result()), row);
        } finally {
          await stop();
        }
      });
    }

    test("unreadable document is no lost connection", async () => {
      await withServer({}, async (url, folder) => {
        const path = join(folder, "document.bin");
        writeFileSync(path, new Uint8Array(20_000_000));
        const content = await fileContent(path);
        let reads = 0;
        // The digest needs 20 reads; then the disk fails, also for the large reads of chunks.
        const failing: ByteSource = {
          sizeBytes: content.sizeBytes,
          read: (start, end) => {
            if (++reads > 21) throw new Error(`${path}: input/output error`);
            return content.read(start, end);
          },
        };
        const client = connect(url, { protocol });
        const documents = [{ kind: Document_Kind.BEFORE, fileName: "a.bin", content: failing }];
        const run = client.export({ review: { documentName: "a.docx" }, documents });
        const error = await failureOf(() => run.result());
        assert.equal(error.reason, "UNREADABLE");
        assert.match(error.message, /document\.bin: input\/output error/);
      });
    });

    test("request that cannot be encoded is not retried", async () => {
      const row = { status: 200, is_grpc: true, body_base64: "AAAAAAA=", trailers: { "grpc-status": "0" } };
      const server = await startHttpServer(row, protocol);
      try {
        const client = connect(server.url, { protocol });
        const error = await failureOf(() => client.listExports({ pageSize: 1.5 }).next());
        assert.equal(error.codeName, "INVALID_ARGUMENT");
        assert.match(error.message, /page_size.*1\.5/);
        assert.ok(server.requests.length <= 1, `${server.requests.length} requests`);
      } finally {
        await server.stop();
      }
    });

    test("request beyond the limit is not sent", async () => {
      // So small that they are not uploaded first, over gRPC-Web neither.
      const documents = Array.from({ length: 257 }, (_, index) => ({
        kind: Document_Kind.BEFORE,
        fileName: `${index}.bin`,
        content: new Uint8Array(256 * 1024),
      }));
      const client = connect("127.0.0.1:1", { protocol });
      const error = await failureOf(() => client.export({ review: { documentName: "a.docx" }, documents }).result());
      assert.equal(error.reason, "REQUEST_TOO_LARGE");
      assert.match(error.message, /upload/);
    });
  });
}

test("large headers and trailers are read", async () => {
  for (const row of shared.http.filter(isWithinLimits)) {
    const server = await startHttpServer({ ...row, trailers: { "grpc-status": "3", "grpc-message": "wrong" } }, "grpc");
    try {
      const error = await failureOf(() => connect(server.url).watch(shared.export).result());
      assert.equal(error.codeName, "INVALID_ARGUMENT");
    } finally {
      await server.stop();
    }
  }
  const row = { status: 200, is_grpc: true, header_bytes: 100_000, trailers: { "grpc-status": "0" } };
  const server = await startHttpServer(row, "grpc-web");
  try {
    const client = connect(server.url, { protocol: "grpc-web" });
    const error = await failureOf(() => client.watch(shared.export).result());
    assert.equal(error.reason, "RESPONSE_TOO_LARGE");
    assert.match(error.message, /headers.*limit/);
  } finally {
    await server.stop();
  }
});

async function withServer(
  settings: Record<string, string>,
  use: (url: string, folder: string) => Promise<void>,
): Promise<void> {
  const world = await World.start(settings);
  try {
    await use(world.serverUrl, world.folder);
  } finally {
    await world.stop();
  }
}

/** The address of a row's server. */
async function failingServer(row: ConnectionRow): Promise<{ address: string; stop(): Promise<void> }> {
  if (row.address !== undefined) return { address: row.address, stop: async () => {} };
  if (row.server === "closed port") {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    return { address: `127.0.0.1:${port}`, stop: async () => {} };
  }
  const isPlain = row.server === "plain";
  const world = await World.start(
    isPlain ? {} : authority.serverSettings(row.certificate, row.server === "mutual tls"),
  );
  return { address: world.serverUrl.replace("http://", ""), stop: () => world.stop() };
}
