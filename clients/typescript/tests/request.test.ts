import assert from "node:assert/strict";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";

import { Calls } from "../src/calls.js";
import {
  connect,
  Document_Kind,
  type ExportRequest,
  previewRequestOf,
  ReviewSchema,
  TaraExportError,
} from "../src/node/index.js";
import { prepare } from "../src/request.js";

/** No server: what is prepared here is refused or complete before anything is sent. */
async function prepared(request: ExportRequest) {
  const calls = new Calls({} as never, {});
  const preparing = prepare(calls, { ...request, requestId: "id" }, {});
  const step = await preparing.next();
  assert.ok(step.done, "nothing is uploaded");
  return step.value;
}

test("a small document travels inside, with its digest", async () => {
  const content = new TextEncoder().encode("abc");
  const { documents } = await prepared({ documents: [{ kind: Document_Kind.BEFORE, fileName: "a.txt", content }] });
  assert.deepEqual(documents[0]?.source, { case: "content", value: content });
  assert.equal(documents[0]?.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
});

test("numbers that would be rounded are refused with their path", async () => {
  const free = { deep: [{ count: 2 ** 53 }] };
  const review = create(ReviewSchema, {
    documentName: "a",
    suggestions: [{ name: "s", items: [{ additionalFields: free }] }],
  });
  await assert.rejects(prepared({ review }), (error) => {
    assert.ok(error instanceof TaraExportError);
    assert.equal(error.reason, "NOT_EXACT");
    const field = "review.suggestions[0].items[0].additional_fields.deep[0].count";
    assert.deepEqual(
      error.fieldViolations.map((violation) => violation.field),
      [field],
    );
    return true;
  });
  const exact = { activityLog: [{ most: 2 ** 53 - 1, least: -(2 ** 53 - 1), half: 0.5, huge: 1e300 }] };
  await prepared({ review: { documentName: "a", ...exact } });
});

test("a preview has the sizes of all kinds of content", () => {
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

test("a server that is away is UNAVAILABLE, and lost contact after all patience", async () => {
  const client = connect("http://127.0.0.1:1", { policy: { patienceMs: 50, minDelayMs: 1 } });
  await assert.rejects(client.getExport("exports/x"), { codeName: "UNAVAILABLE", reason: undefined });
  await assert.rejects(client.watch("exports/x").result(), { codeName: "UNAVAILABLE", reason: "LOST_CONTACT" });
});

test("a call that was given up is no lost connection", async () => {
  const client = connect("http://127.0.0.1:1");
  const signal = AbortSignal.abort();
  await assert.rejects(client.watch("exports/x", { signal }).result(), { name: "AbortError" });
});
