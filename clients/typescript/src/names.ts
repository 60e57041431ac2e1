/**
 * Checks of names in responses: exports, uploads, folders, files and links. `clients/README.md` defines the rules;
 * `clients/hostile-server.json` has examples that every client accepts or rejects.
 */
import { untrusted } from "./error.js";
import type { Event } from "./gen/tara/export/v1/automation_pb.js";
import type { Batch, BatchItem, WatchBatchResponse } from "./gen/tara/export/v1/batch_pb.js";
import type { Artifact, Export, ExportEvent } from "./gen/tara/export/v1/export_pb.js";
import type { BundleArchive } from "./gen/tara/export/v1/service_pb.js";
import type { Upload } from "./gen/tara/export/v1/upload_pb.js";
import { misleading, quoted, unprintable } from "./printable.js";

const MAX_SEGMENT_BYTES = 255;
const MAX_FOLDER_BYTES = 227;
const MAX_PATH_BYTES = 600;
/** The only file of a bundle that the manifest does not list. */
const MANIFEST = "manifest.json";

const exportName = /^exports\/[0-9A-Za-z-]{1,64}$/;
const uploadName = /^uploads\/[0-9A-Za-z-]{1,64}$/;
const device = /^(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])$/i;
const separatorOrControl = /[/\\\p{Cc}]/u;

/**
 * Returns why a text from the server is not a valid file or folder name on every system; `undefined` if it is valid.
 *
 * Check a text with this before using it as a file name: names in adopted bundles may have a special meaning on this
 * system.
 */
export function fileNameViolation(name: string): string | undefined {
  const violation = segmentViolation(name);
  if (violation) return violation;
  if (/[. ]$/.test(name)) return "ends with a dot or a space";
  if (/[<>:"|?*]/.test(name)) return 'contains one of the characters < > : " | ? *';
  if (device.test(name.split(".", 1)[0]?.replace(/ +$/, "") ?? "")) return "is a Windows device name";
  if (misleading.test(name)) return "contains a character that is invisible or reorders text";
  return undefined;
}

/** Returns why the text is not a valid path segment; `undefined` if it is valid. */
export function segmentViolation(segment: string, maxBytes = MAX_SEGMENT_BYTES): string | undefined {
  if (segment === "") return "is empty";
  if (byteLength(segment) > maxBytes) return `is longer than ${maxBytes} bytes`;
  if (segment.startsWith(".")) return "starts with a dot";
  if (separatorOrControl.test(segment)) return "contains a slash, a backslash or a control character";
  return undefined;
}

/** Returns why the text is not a valid bundle folder name; `undefined` if it is valid. */
export function folderViolation(name: string): string | undefined {
  return segmentViolation(name, MAX_FOLDER_BYTES);
}

/** Returns why the text is not a valid path of a file in a bundle; `undefined` if it is valid. */
export function pathViolation(path: string): string | undefined {
  if (byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  for (const segment of path.split("/")) {
    const violation = segmentViolation(segment);
    if (violation) return violation;
  }
  return undefined;
}

/** Returns why the text is not a valid download link; `undefined` if it is valid. */
export function linkViolation(uri: string): string | undefined {
  if (uri.includes(" ") || unprintable.test(uri)) return "contains a space or a control character";
  return /^https?:\/\/[^/?#]/.test(uri) && isUrl(uri) ? undefined : "is not an http or https URL";
}

function isUrl(text: string): boolean {
  try {
    new URL(text);
    return true;
  } catch {
    return false;
  }
}

function byteLength(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}

function checkSameExport(requestedName: string, name: string): void {
  // Servers return names in lower case, regardless of the case in the request.
  if (name !== requestedName.toLowerCase())
    throw untrusted(requestedName, `name ${quoted(name)} belongs to another export`);
}

/** Throws unless the export is a valid response to a request for `requestedName`. */
export function checkExport(exported: Export, requestedName: string): void {
  checkSameExport(requestedName, exported.name);
  checkContents(exported);
}

/** Throws unless the export is valid in a list. */
export function checkListed(exported: Export): void {
  if (!exportName.test(exported.name)) {
    throw untrusted("a list of exports", `name ${quoted(exported.name)} is not an export name`);
  }
  checkContents(exported);
}

/** Throws unless the event is valid in a list. An event that belongs to no export has no name. */
export function checkListedEvent(event: Event): void {
  if (event.export !== "" && !exportName.test(event.export)) {
    throw untrusted("a list of events", `export ${quoted(event.export)} is not an export name`);
  }
}

function checkContents({ name, folderName, artifacts }: Export): void {
  const folder = folderName === "" ? undefined : folderViolation(folderName);
  if (folder) throw untrusted(name, `folder_name ${quoted(folderName)} ${folder}`);
  const paths = new Set([MANIFEST]);
  for (const { path, sizeBytes } of artifacts) {
    const duplicate = paths.has(path) ? "occurs twice" : undefined;
    const violation = pathViolation(path) ?? duplicate ?? (sizeBytes < 0n ? "has a negative size" : undefined);
    if (violation) throw untrusted(name, `path ${quoted(path)} in artifacts ${violation}`);
    paths.add(path);
  }
}

/** Throws unless the event is a valid event of the requested export. */
export function checkEvent({ name, event }: ExportEvent, requestedName: string): void {
  checkSameExport(requestedName, name);
  if (event.case === "completed" && event.value.export) checkExport(event.value.export, requestedName);
  const storedUnder = event.case === "failed" ? event.value.storedUnder : "";
  if (storedUnder !== "" && !exportName.test(storedUnder)) {
    throw untrusted(requestedName, `stored_under ${quoted(storedUnder)} is not an export name`);
  }
}

/** Throws unless this is the requested batch, with valid items. */
export function checkBatch({ name, items }: Batch, requestedName: string): void {
  if (name !== requestedName.toLowerCase()) {
    throw untrusted(requestedName, `name ${quoted(name)} belongs to another batch`);
  }
  for (const item of items) checkBatchItem(item, requestedName);
}

/** Throws unless this is a valid step of the requested batch. */
export function checkBatchStep({ event }: WatchBatchResponse, requestedName: string): void {
  if (event.case === "item") checkBatchItem(event.value, requestedName);
  if (event.case === "ended") checkBatch(event.value, requestedName);
}

function checkBatchItem({ index, export: exported, storedUnder }: BatchItem, requestedName: string): void {
  if (index < 0) throw untrusted(requestedName, `index ${index} is negative`);
  if (!exportName.test(exported)) {
    throw untrusted(requestedName, `export ${quoted(exported)} is not an export name`);
  }
  if (storedUnder !== "" && !exportName.test(storedUnder)) {
    throw untrusted(requestedName, `stored_under ${quoted(storedUnder)} is not an export name`);
  }
}

/** Throws unless the artifact describes the requested file. */
export function checkArtifact({ path, sizeBytes }: Artifact, exportName: string, requestedPath: string): void {
  if (path !== requestedPath) {
    throw untrusted(exportName, `path ${quoted(path)} is not the requested ${quoted(requestedPath)}`);
  }
  if (sizeBytes < 0n) throw untrusted(exportName, `size_bytes ${sizeBytes} of ${quoted(path)} is negative`);
}

/** Throws unless the archive has a folder name with the extension `.zip`. */
export function checkArchive({ fileName }: BundleArchive, exportName: string): void {
  const isArchive = fileName.endsWith(".zip");
  const violation = isArchive ? folderViolation(fileName.slice(0, -4)) : "is not a ZIP file name";
  if (violation) throw untrusted(exportName, `file_name ${quoted(fileName)} ${violation}`);
}

/** Throws unless this is a valid upload of this size, with the requested name unless `requestedName` is empty. */
export function checkUpload(upload: Upload, requestedName: string, sizeBytes: number): void {
  const { name, committedSizeBytes, chunkSizeBytes } = upload;
  const fail = (problem: string) => untrusted(requestedName || "a new upload", problem);
  if (!uploadName.test(name)) throw fail(`name ${quoted(name)} is not an upload name`);
  if (requestedName !== "" && name !== requestedName) throw fail(`name ${quoted(name)} belongs to another upload`);
  if (committedSizeBytes < 0n || committedSizeBytes > BigInt(sizeBytes)) {
    throw fail(`committed_size_bytes ${committedSizeBytes} is not between 0 and ${sizeBytes}`);
  }
  if (chunkSizeBytes < 0) throw fail(`chunk_size_bytes ${chunkSizeBytes} is negative`);
}
