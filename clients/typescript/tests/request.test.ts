import assert from "node:assert/strict";
import { test } from "node:test";

import { Calls } from "../src/calls.js";
import { connect, Document_Kind, type ExportRequest, previewRequestOf } from "../src/node/index.js";
import { prepare } from "../src/request.js";

/** Prepares a request without a server. */
async function prepared(request: ExportRequest) {
  const calls = new Calls({} as never, {});
  const preparing = prepare(calls, { ...request, requestId: "id" }, {});
  const step = await preparing.next();
  assert.ok(step.done, "nothing is uploaded");
  return step.value;
}

test("small document is sent inline with its digest", async () => {
  const content = new TextEncoder().encode("abc");
  const { documents } = await prepared({ documents: [{ kind: Document_Kind.BEFORE, fileName: "a.txt", content }] });
  assert.deepEqual(documents[0]?.source, { case: "content", value: content });
  assert.equal(documents[0]?.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("file name that is not Unicode is replaced and listed", async () => {
  const document = { kind: Document_Kind.BEFORE, fileName: "a\ud83d.txt", content: new Uint8Array() };
  const { review, documents } = await prepared({ documents: [document] });
  assert.equal(documents[0]?.fileName, "a\ufffd.txt");
  assert.deepEqual(
    review?.replacements.map(({ path, reason }) => [path, reason]),
    [["documents[0].file_name", "NOT_UNICODE"]],
  );
});

test("preview request has the sizes of all kinds of content", () => {
  const { documents } = previewRequestOf({
    documents: [
      { kind: Document_Kind.BEFORE, content: new Uint8Array(3) },
      { kind: Document_Kind.AFTER, content: new Blob(["four"]) },
      { kind: Document_Kind.GUIDELINES, s3: { uri: "s3://bucket/key" } },
    ],
  });
  assert.deepEqual(
    documents.map(({ sizeBytes }) => sizeBytes),
    [3n, 4n, 0n],
  );
});

test("unreachable server is UNAVAILABLE, then LOST_CONTACT", async () => {
  const client = connect("http://127.0.0.1:1", { policy: { progressTimeoutMs: 50, minDelayMs: 1 } });
  await assert.rejects(client.getExport("exports/x"), { codeName: "UNAVAILABLE", reason: undefined });
  await assert.rejects(client.watch("exports/x").result(), { codeName: "UNAVAILABLE", reason: "LOST_CONTACT" });
});

test("aborted call throws AbortError", async () => {
  const client = connect("http://127.0.0.1:1");
  const signal = AbortSignal.abort();
  await assert.rejects(client.watch("exports/x", { signal }).result(), { name: "AbortError" });
});
