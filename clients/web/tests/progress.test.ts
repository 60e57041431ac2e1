import assert from "node:assert/strict";
import { test } from "node:test";

import {
  create,
  type ExportEvent,
  ExportEventSchema,
  ExportOption_Kind,
  PreviewExportResponseSchema,
} from "tara-export/web";

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

test("bytes in flight count in the share", () => {
  const progress = new ExportProgress(preview);
  assert.equal(progress.share, undefined);
  const started = create(ExportEventSchema, {
    event: { case: "artifactProgress", value: { path, sizeBytes: 10n, bytesDone: 4n } },
    progress: { artifactsDone: 0, artifactsTotal: 2, bytesDone: 0n, bytesTotal: 10n },
  });
  apply(progress, create(ExportEventSchema, { event: { case: "accepted", value: {} } }).event);
  assert.equal(progress.share, 0);
  progress.apply({ type: "event", event: started });
  assert.equal(progress.bytesInFlight, 4);
  assert.equal(progress.bytesDone, 0);
  assert.ok((progress.share ?? 0) > 0);
  // Stored files are not counted twice.
  apply(progress, update("artifactStored"));
  assert.equal(progress.bytesInFlight, 0);
});

test("share of a document counts what is read, then what is sent", () => {
  const progress = new ExportProgress(preview);
  progress.applyHash({ fileName: "a.docx", doneBytes: 1, sizeBytes: 4 });
  assert.equal(progress.share, 0.25);
  assert.equal(progress.uploading, undefined);
  progress.applyHash({ fileName: "a.docx", doneBytes: 4, sizeBytes: 4 });
  assert.equal(progress.hashing, undefined);
  assert.equal(progress.share, 0);
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
