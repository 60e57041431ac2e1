import { type Client, type ExportResult, fileNameViolation, printable, TaraExportError } from "tara-export/web";

import type { Texts } from "./messages/texts.js";
import type { DoneView } from "./views/done.js";
import { messageOf } from "./views/failed.js";

/** Saves one file of a bundle after verifying it against the manifest. */
export async function downloadArtifact(
  client: Client,
  result: ExportResult,
  path: string,
  view: DoneView,
  texts: Texts,
): Promise<void> {
  const file = path.slice(path.lastIndexOf("/") + 1);
  const sizeBytes = Number(result.export.artifacts.find((artifact) => artifact.path === path)?.sizeBytes ?? 0);
  const onProgress = (doneBytes: number) =>
    view.downloading(texts.text("download.percent", { file, percent: texts.percent(doneBytes, sizeBytes) }));
  await download(view, texts, file, async () => {
    const { blob } = await client.artifactBlob(result.name, path, { onProgress });
    return { blob, fileName: file };
  });
}

/** Saves a whole bundle as a ZIP file. */
export async function downloadBundle(
  client: Client,
  result: ExportResult,
  view: DoneView,
  texts: Texts,
): Promise<void> {
  const file = texts.text("download.bundle");
  const onProgress = (doneBytes: number) =>
    view.downloading(texts.text("download.bytes", { file, size: texts.bytes(doneBytes) }));
  await download(view, texts, file, async () => {
    const { archive, blob } = await client.bundleBlob(result.name, { onProgress });
    return { blob, fileName: archive.fileName };
  });
}

async function download(
  view: DoneView,
  texts: Texts,
  file: string,
  fetchBlob: () => Promise<{ blob: Blob; fileName: string }>,
): Promise<void> {
  view.isBusy = true;
  view.downloading(texts.text("download.starting", { file }));
  try {
    const { blob, fileName } = await fetchBlob();
    save(blob, fileName);
    view.downloading(texts.text("download.saved", { file: fileName, size: texts.bytes(blob.size) }));
  } catch (error) {
    const isUnsafe = error instanceof UnsafeNameError;
    const reason = isUnsafe ? texts.text("download.unsafeName") : messageOf(texts, error);
    const code = error instanceof TaraExportError ? (error.reason ?? error.codeName) : "";
    const detail = isUnsafe || code ? [code, (error as Error).message].filter(Boolean).join(" · ") : "";
    view.failed(texts.text("download.failed", { reason }), detail);
  } finally {
    view.isBusy = false;
  }
}

/** A file name that is not valid on every system. */
class UnsafeNameError extends Error {}

function save(blob: Blob, fileName: string): void {
  const violation = fileNameViolation(fileName);
  if (violation) throw new UnsafeNameError(`${printable(fileName)}: ${violation}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  // The browser reads the URL on click. One minute is enough for every browser to start the download.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
