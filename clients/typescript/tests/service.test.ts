// The client against the real server, over both protocols.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createConnection, type Socket } from "node:net";
import { join } from "node:path";
import { after, afterEach, before, suite, test } from "node:test";

import { clone } from "@bufbuild/protobuf";
import {
  connect,
  create,
  Destination,
  Document_Kind,
  type DocumentInput,
  Export_State,
  type ExportRequest,
  type ExportUpdate,
  Fallback,
  fileContent,
  fromJson,
  type NodeClient,
  ReviewSchema,
  StartExportRequestSchema,
  TaraExportError,
} from "tara-export/node";

import { root, World } from "./world.js";

const example = fromJson(
  StartExportRequestSchema,
  JSON.parse(await readFile(join(root, "examples/request.json"), "utf8")),
);
const exampleReview = example.review ?? create(ReviewSchema);
const reviewOf = (more: { documentName: string; reviewer?: string }) =>
  Object.assign(clone(ReviewSchema, exampleReview), more);

for (const protocol of ["grpc", "grpc-web"] as const) {
  suite(`over ${protocol}`, () => {
    let world: World;
    let client: NodeClient;
    /** A client that connects through a proxy which can cut connections. */
    let proxied: NodeClient;

    before(async () => {
      world = await World.start();
      client = connect(protocol === "grpc" ? world.serverUrl : world.http1Url, { protocol });
      proxied = connect(proxyUrl(), {
        protocol,
        policy: { minDelayMs: 10 },
      });
    });
    after(() => world?.stop());
    afterEach(() => world.reset());

    const proxyUrl = () => (protocol === "grpc" ? world.proxyUrl : world.http1Url);
    const review = (more: ExportRequest = {}): ExportRequest => ({
      ...example,
      requestId: crypto.randomUUID(),
      ...more,
    });
    const file = (name: string) => join(world.folder, name);

    test("export is stored in S3 and reports each file", async () => {
      const run = client.export(review());
      const eventCases: string[] = [];
      for await (const update of run) if (update.type === "event") eventCases.push(update.event.event.case ?? "");
      const result = await run.result();
      assert.equal(eventCases[0], "accepted");
      assert.equal(eventCases.at(-1), "completed");
      assert.equal(eventCases.filter((event) => event === "artifactStored").length, result.artifactCount + 1);
      assert.equal(result.storedIn, Destination.S3);
      assert.equal(result.fellBack, false);
      assert.match(result.location, /^s3:\/\/tara-test\/tara\//);
      const { artifacts, manifestSha256 } = await client.getExport(run.name);
      assert.deepEqual(artifacts, result.export.artifacts);
      assert.equal(manifestSha256, result.manifestSha256);
    });

    test("bundle falls back to the server's disk when S3 is down", async () => {
      await world.do("s3 down");
      const run = client.export(review());
      const events = await collect(run);
      assert.ok(events.includes("fellBack"));
      const result = await run.result();
      assert.ok(result.fellBack);
      assert.equal(result.export.state, Export_State.FELL_BACK);
      assert.equal(result.storedIn, Destination.LOCAL);
    });

    test("export without fallback fails with the reason", async () => {
      await world.do("s3 down");
      const failing = client.export(review({ fallback: Fallback.NONE }));
      await assert.rejects(failing.result(), { name: "TaraExportError", reason: "STORE_DENIED", isFromServer: true });
    });

    test("repeated request id returns the same export, other content is rejected", async () => {
      const request = review();
      const [first, second] = await Promise.all([client.export(request).result(), client.export(request).result()]);
      assert.equal(first.manifestSha256, second.manifestSha256);
      assert.equal(first.location, second.location);
      const other = { ...request, review: { documentName: "another.docx" } };
      await assert.rejects(client.export({ ...request, ...other }).result(), (error) => {
        assert.ok(error instanceof TaraExportError);
        assert.equal(error.codeName, "ALREADY_EXISTS");
        assert.equal(error.reason, "REQUEST_ID_REUSED");
        assert.equal(error.metadata.export, first.name);
        return true;
      });
    });

    test("cut stream is resumed without repeated events", async () => {
      await world.do("hold");
      const run = proxied.export(review());
      const numbers: bigint[] = [];
      let isCut = false;
      for await (const update of run) {
        if (update.type !== "event") continue;
        const { event, sequence } = update.event;
        if (event.case !== "artifactProgress" && event.case !== "heartbeat") numbers.push(sequence);
        if (event.case !== "artifactStored" || isCut) continue;
        isCut = true;
        await world.do("cut");
        await world.do("release");
      }
      assert.ok(isCut);
      assert.deepEqual(
        numbers,
        numbers.map((_, index) => BigInt(index + 1)),
      );
      assert.equal((await run.result()).storedIn, Destination.S3);
    });

    test("restarted server finishes an accepted export", async () => {
      await world.do("hold");
      const run = proxied.export(review());
      const accepted: boolean[] = [];
      for await (const update of run) {
        if (update.type !== "event" || update.event.event.case !== "accepted") continue;
        accepted.push(update.event.event.value.resumed);
        if (accepted.length > 1) continue;
        await world.do("restart");
        await world.do("release");
      }
      assert.deepEqual(accepted, [false, true]);
      assert.equal((await run.result()).storedIn, Destination.S3);
    });

    test("export continues after the loop is left and can be followed again", async () => {
      await world.do("hold");
      const run = client.export(review());
      for await (const update of run) if (update.type === "event") break;
      const rest = collect(run);
      const watched = client.watch(run.name).result();
      await world.do("release");
      assert.ok(!(await rest).includes("accepted"));
      assert.equal((await watched).location, (await run.result()).location);
    });

    test("large document is uploaded and downloaded despite cuts", async () => {
      const content = Buffer.alloc(24 * 1024 * 1024);
      // Different for each protocol: the server already has an equal upload.
      content.fill(`${protocol} ${crypto.randomUUID()} `);
      await writeFile(file("large.docx"), content);
      const documents: DocumentInput[] = [
        { kind: Document_Kind.AFTER, fileName: "large.docx", content: await fileContent(file("large.docx")) },
      ];
      const otherConnection = await connectTo(proxyUrl());
      await world.do(`cut requests ${17 * 1024 * 1024}`);
      const hashed: number[] = [];
      const retries: (string | undefined)[] = [];
      const run = proxied.export(review({ documents }), {
        onHash: ({ fileName, doneBytes, sizeBytes }) => {
          assert.deepEqual([fileName, sizeBytes], ["large.docx", content.byteLength]);
          hashed.push(doneBytes);
        },
        onRetry: ({ codeName }) => retries.push(codeName),
      });
      const steps: number[] = [];
      for await (const update of run) if (update.type === "upload") steps.push(update.doneBytes);
      assert.ok(otherConnection.destroyed, "connections were cut");
      assert.equal(steps.at(-1), content.byteLength);
      // The digest is complete before the first byte is sent.
      assert.deepEqual([hashed.length, hashed.at(-1)], [24, content.byteLength]);
      assert.deepEqual(new Set(retries), new Set(["UNAVAILABLE"]));
      const result = await run.result();
      const stored = result.export.artifacts.find(({ path }) => path.startsWith("documents/after_"));
      assert.equal(stored?.sha256, createHash("sha256").update(content).digest("hex"));
      // A cut download is resumed.
      let received = 0;
      const onProgress = (doneBytes: number) => {
        if (received < content.byteLength / 2 && doneBytes >= content.byteLength / 2) void world.do("cut");
        received = doneBytes;
      };
      await proxied.downloadArtifact(result.name, stored?.path ?? "", file("back.docx"), { onProgress });
      assert.ok(content.equals(await readFile(file("back.docx"))));
    });

    test("invalid request reports every wrong field", async () => {
      await assert.rejects(
        client.export({ requestId: "no uuid", documents: [{ kind: 0, fileName: "a" }] }).result(),
        (error) => {
          assert.ok(error instanceof TaraExportError);
          assert.equal(error.codeName, "INVALID_ARGUMENT");
          assert.equal(error.reason, "INVALID_REQUEST");
          const fields = error.fieldViolations.map(({ field }) => field);
          for (const field of ["request_id", "review", "documents[0].kind"])
            assert.ok(fields.includes(field), `${fields}`);
          return true;
        },
      );
    });

    test("list returns all pages, newest first", async () => {
      const reviewer = `Ada ${crypto.randomUUID()}`;
      const exported = [];
      for (const documentName of ["one.txt", "two.txt", "three.txt"]) {
        const run = client.export(
          review({ review: reviewOf({ documentName, reviewer }), destination: Destination.LOCAL }),
        );
        exported.push((await run.result()).name);
      }
      const listed = [];
      for await (const { name } of client.listExports({ filter: `reviewer = "${reviewer}"`, pageSize: 1 }))
        listed.push(name);
      assert.deepEqual(listed, exported.reverse());
    });

    test("names in all scripts are preserved", async () => {
      const documentName = "Störungsbericht 事故報告 🚒.docx";
      const result = await client.export(review({ review: reviewOf({ documentName }) })).result();
      assert.match(result.folderName, /_Störungsbericht_事故報告/);
      assert.equal(result.export.documentName, documentName);
      const report = "readable_report.txt";
      await client.downloadArtifact(result.name, report, file(report));
      assert.ok((await readFile(file(report), "utf8")).includes(documentName));
      await client.downloadBundle(result.name, file("bundle.zip"));
      assert.deepEqual((await readFile(file("bundle.zip"))).subarray(0, 4), Buffer.from("PK\x03\x04", "latin1"));
    });

    test("checkStorage returns one row per check", async () => {
      const checks = await client.checkStorage();
      assert.ok(checks.some(({ check }) => check === "s3.conditional_put"));
    });
  });
}

async function collect(updates: AsyncIterable<ExportUpdate>): Promise<(string | undefined)[]> {
  const events: (string | undefined)[] = [];
  for await (const update of updates) if (update.type === "event") events.push(update.event.event.case);
  return events;
}

/** Opens a separate connection through the proxy, to observe cuts. */
async function connectTo(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = createConnection(Number(port), hostname);
  socket.resume();
  await once(socket, "connect");
  return socket;
}
