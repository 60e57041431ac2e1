import assert from "node:assert/strict";
import { test } from "node:test";

import { create, type MessageInitShape } from "@bufbuild/protobuf";

import { ExportEventSchema } from "../src/gen/tara/export/v1/export_pb.js";
import { isRunEvent, SeenEvents } from "../src/seen.js";

type Event = NonNullable<MessageInitShape<typeof ExportEventSchema>["event"]>;
const accepted: Event = { case: "accepted", value: {} };
const progress: Event = { case: "artifactProgress", value: {} };
const completed: Event = { case: "completed", value: {} };

function event(runId: string, sequence: bigint, kind: Event = accepted) {
  return create(ExportEventSchema, { runId, sequence, event: kind });
}

test("event is new once, even after events of another run", () => {
  const seen = new SeenEvents();
  assert.ok(seen.isNew(event("a", 1n)));
  assert.ok(!seen.isNew(event("a", 1n)));
  assert.ok(seen.isNew(event("a", 2n)));
  assert.ok(seen.isNew(event("b", 1n)));
  assert.deepEqual(seen.position(), { runId: "b", afterSequence: 1n });
  assert.ok(!seen.isNew(event("a", 2n)));
  assert.ok(seen.isNew(event("a", 3n)));
  assert.deepEqual(seen.position(), { runId: "a", afterSequence: 3n });
});

test("progress repeats the last number, and old progress is skipped", () => {
  const seen = new SeenEvents();
  seen.isNew(event("a", 3n));
  assert.ok(seen.isNew(event("a", 3n, progress)));
  assert.ok(seen.isNew(event("a", 3n, progress)));
  assert.ok(!seen.isNew(event("a", 2n, progress)));
});

test("terminal event is always new and always a run event", () => {
  const end = event("", 0n, completed);
  assert.ok(new SeenEvents().isNew(end));
  assert.ok(isRunEvent(end));
  assert.ok(!isRunEvent(event("", 0n, { case: "heartbeat", value: {} })));
});
