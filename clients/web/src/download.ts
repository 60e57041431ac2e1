import { type Client, type ExportResult, fileNameViolation, printable, TaraExportError } from "tara-export/web";

import { formatBytes, formatPercent } from "./format.js";
import type { DoneView } from "./views/done.js";

/** Saves one file of a bundle after verifying it against the manifest. */
export async function downloadArtifact(
  client: Client,
  result: ExportResult,
  path: string,
  view: DoneView,
): Promise<void> {
  const fileName = path.slice(path.lastIndexOf("/") + 1);
  const sizeBytes = Number(result.export.artifacts.find((artifact) => artifact.path === path)?.sizeBytes ?? 0);
  const onProgress = (doneBytes: number) =>
    view.downloading(`Downloading ${fileName}: ${formatPercent(doneBytes, sizeBytes)}`);
  await download(view, fileName, async () => {
    const { blob } = await client.artifactBlob(result.name, path, { onProgress });
    return { blob, fileName };
  });
}

/** Saves a whole bundle as a ZIP file. */
export async function downloadBundle(client: Client, result: ExportResult, view: DoneView): Promise<void> {
  const onProgress = (doneBytes: number) => view.downloading(`Downloading the bundle: ${formatBytes(doneBytes)}`);
  await download(view, "the bundle", async () => {
    const { archive, blob } = await client.bundleBlob(result.name, { onProgress });
    return { blob, fileName: archive.fileName };
  });
}

async function download(
  view: DoneView,
  label: string,
  fetchBlob: () => Promise<{ blob: Blob; fileName: string }>,
): Promise<void> {
  view.isBusy = true;
  view.downloading(`Downloading ${label}…`);
  try {
    const { blob, fileName } = await fetchBlob();
    save(blob, fileName);
    view.downloading(`${fileName} (${formatBytes(blob.size)}) was verified and passed to your browser.`);
  } catch (error) {
    const reason = error instanceof TaraExportError && error.reason ? ` (${error.reason})` : "";
    const message = error instanceof Error ? error.message : String(error);
    view.failed(`The download failed: ${message}${reason}. You can try again.`);
  } finally {
    view.isBusy = false;
  }
}

function save(blob: Blob, fileName: string): void {
  const violation = fileNameViolation(fileName);
  if (violation) throw new Error(`“${printable(fileName)}” is not a valid file name: it ${violation}`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = fileName;
  link.click();
  // The browser reads the URL on click. One minute is enough for every browser to start the download.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
