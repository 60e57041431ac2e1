import assert from "node:assert/strict";
import { test } from "node:test";

import {
  create,
  type ExportEvent,
  ExportEventSchema,
  ExportOption_Kind,
  PreviewExportResponseSchema,
} from "tara-export/web";

import { formatBytes, formatFiles, formatPercent } from "../src/format.js";
import { ExportProgress } from "../src/progress.js";
import { suggestedDestination } from "../src/views/choose.js";

const path = "readable_report.txt";
const preview = create(PreviewExportResponseSchema, { artifacts: [{ path, sizeBytes: 10n }], sizeBytes: 10n });

function apply(progress: ExportProgress, ...events: ExportEvent["event"][]): void {
  for (const event of events) progress.apply({ type: "event", event: create(ExportEventSchema, { event }) });
}

function update(name: "artifactStarted" | "artifactRetrying" | "artifactStored", reason = ""): ExportEvent["event"] {
  const { event } = create(ExportEventSchema, { event: { case: name, value: { path, sizeBytes: 10n, reason } } });
  return event;
}

test("files of the preview and the manifest are waiting", () => {
  const progress = new ExportProgress(preview);
  assert.deepEqual([...progress.artifacts.keys()], [path, "manifest.json"]);
  assert.equal(progress.artifactsTotal, 2);
});

test("file is sent, retried and stays stored", () => {
  const progress = new ExportProgress(preview);
  const file = progress.artifacts.get(path);
  apply(progress, update("artifactStarted"));
  assert.equal(file?.status, "sending");
  apply(progress, update("artifactRetrying", "slow"));
  assert.deepEqual([file?.status, file?.reason], ["retrying", "slow"]);
  apply(progress, update("artifactStored"), update("artifactStarted"));
  assert.deepEqual([file?.status, file?.doneBytes], ["stored", 10]);
});

test("fallback and later run reset the progress", () => {
  const progress = new ExportProgress();
  const fellBack = create(ExportEventSchema, { event: { case: "fellBack", value: { message: "away" } } }).event;
  const accepted = create(ExportEventSchema, { event: { case: "accepted", value: {} } }).event;
  apply(progress, accepted, update("artifactStored"), fellBack);
  assert.equal(progress.fellBack?.message, "away");
  assert.equal(progress.artifacts.get(path)?.status, "waiting");
  apply(progress, update("artifactStored"), accepted);
  assert.equal(progress.fellBack, undefined);
  assert.equal(progress.artifacts.get(path)?.status, "waiting");
});

test("recommended destination is suggested if available", () => {
  const options = (available: boolean) =>
    create(PreviewExportResponseSchema, {
      options: [
        { kind: ExportOption_Kind.S3, recommended: true, available },
        { kind: ExportOption_Kind.LOCAL, available: true },
        { kind: ExportOption_Kind.CANCEL, available: true },
      ],
    });
  assert.equal(suggestedDestination(options(true)), "s3");
  assert.equal(suggestedDestination(options(false)), "local");
  assert.equal(suggestedDestination(create(PreviewExportResponseSchema)), undefined);
});

test("sizes and percentages are human-readable", () => {
  assert.deepEqual([0, 1, 999, 1000, 9949, 9950, 999_499, 999_500].map(formatBytes), [
    "0 bytes",
    "1 byte",
    "999 bytes",
    "1.0 KB",
    "9.9 KB",
    "10 KB",
    "999 KB",
    "1.0 MB",
  ]);
  assert.deepEqual([1, 12].map(formatFiles), ["1 file", "12 files"]);
  assert.deepEqual([formatPercent(999, 1000), formatPercent(5, 5), formatPercent(0, 0)], ["99 %", "100 %", "0 %"]);
});
