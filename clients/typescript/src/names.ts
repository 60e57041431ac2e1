/**
 * Checks of what a server names: exports, uploads, folders, files and links. `clients/README.md` has the rules,
 * and `clients/hostile-server.json` names that every client accepts or refuses.
 */
import { untrusted } from "./error.js";
import type { Artifact, Export, ExportEvent } from "./gen/tara/export/v1/export_pb.js";
import type { BundleArchive } from "./gen/tara/export/v1/service_pb.js";
import type { Upload } from "./gen/tara/export/v1/upload_pb.js";
import { misleading, quoted, unprintable } from "./printable.js";

const MAX_PART_BYTES = 255;
const MAX_FOLDER_BYTES = 227;
const MAX_PATH_BYTES = 600;
/** The file that no manifest lists. */
const MANIFEST = "manifest.json";

const exportName = /^exports\/[0-9A-Za-z-]{1,64}$/;
const uploadName = /^uploads\/[0-9A-Za-z-]{1,64}$/;
const device = /^(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|(COM|LPT)[0-9¹²³])$/i;
const separatorOrControl = /[/\\\p{Cc}]/u;

/**
 * Why a server's text can't be the name of a file or folder on some system; `undefined` if it can.
 *
 * Check this before a server's text becomes the name of a file: names in adopted bundles may mean something else
 * on this system.
 */
export function fileNameViolation(name: string): string | undefined {
  const violation = partViolation(name);
  if (violation) return violation;
  if (/[. ]$/.test(name)) return "ends with a dot or a space";
  if (/[<>:"|?*]/.test(name)) return 'has one of the characters < > : " | ? *';
  if (device.test(name.split(".", 1)[0]?.replace(/ +$/, "") ?? "")) return "is the name of a device on Windows";
  if (misleading.test(name)) return "has a character that is invisible or changes the order of the others";
  return undefined;
}

/** Why no server sends the text as one part of a path; `undefined` if one can. */
export function partViolation(part: string, maxBytes = MAX_PART_BYTES): string | undefined {
  if (part === "") return "is empty";
  if (byteLength(part) > maxBytes) return `is longer than ${maxBytes} bytes`;
  if (part.startsWith(".")) return "starts with a dot";
  if (separatorOrControl.test(part)) return "has a slash, a backslash or a control character";
  return undefined;
}

/** Why no server sends the text as the name of a bundle's folder; `undefined` if one can. */
export function folderViolation(name: string): string | undefined {
  return partViolation(name, MAX_FOLDER_BYTES);
}

/** Why no server sends the text as the path of a file in a bundle; `undefined` if one can. */
export function pathViolation(path: string): string | undefined {
  if (byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  for (const part of path.split("/")) {
    const violation = partViolation(part);
    if (violation) return violation;
  }
  return undefined;
}

/** Why the text can't be a link to a file of a bundle; `undefined` if it can. */
export function linkViolation(uri: string): string | undefined {
  if (uri.includes(" ") || unprintable.test(uri)) return "has a space or a control character";
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

function checkSameExport(askedName: string, name: string): void {
  // Servers answer in lower case, whatever case a request has.
  if (name !== askedName.toLowerCase()) throw untrusted(askedName, `name ${quoted(name)} is of another export`);
}

/** Throws unless this can be the requested export. */
export function checkExport(exported: Export, askedName: string): void {
  checkSameExport(askedName, exported.name);
  checkContents(exported);
}

/** Throws unless this can be an export of a list. */
export function checkListed(exported: Export): void {
  if (!exportName.test(exported.name)) {
    throw untrusted("a list of exports", `name ${quoted(exported.name)} is not the name of an export`);
  }
  checkContents(exported);
}

function checkContents({ name, folderName, artifacts }: Export): void {
  const folder = folderName === "" ? undefined : folderViolation(folderName);
  if (folder) throw untrusted(name, `folder_name ${quoted(folderName)} ${folder}`);
  const paths = new Set([MANIFEST]);
  for (const { path, sizeBytes } of artifacts) {
    const isTwice = paths.has(path) ? "is there twice" : undefined;
    const violation = pathViolation(path) ?? isTwice ?? (sizeBytes < 0n ? "has a size below 0" : undefined);
    if (violation) throw untrusted(name, `path ${quoted(path)} in artifacts ${violation}`);
    paths.add(path);
  }
}

/** Throws unless this can be an event of the requested export. */
export function checkEvent({ name, event }: ExportEvent, askedName: string): void {
  checkSameExport(askedName, name);
  if (event.case === "completed" && event.value.export) checkExport(event.value.export, askedName);
  const keptAs = event.case === "failed" ? event.value.keptAs : "";
  if (keptAs !== "" && !exportName.test(keptAs)) {
    throw untrusted(askedName, `kept_as ${quoted(keptAs)} is not the name of an export`);
  }
}

/** Throws unless this can describe the requested file. */
export function checkArtifact({ path, sizeBytes }: Artifact, exportName: string, askedPath: string): void {
  if (path !== askedPath) {
    throw untrusted(exportName, `path ${quoted(path)} is not the requested ${quoted(askedPath)}`);
  }
  if (sizeBytes < 0n) throw untrusted(exportName, `size_bytes ${sizeBytes} of ${quoted(path)} is below 0`);
}

/** Throws unless the ZIP file is named as a folder. */
export function checkArchive({ fileName }: BundleArchive, exportName: string): void {
  const isArchive = fileName.endsWith(".zip");
  const violation = isArchive ? folderViolation(fileName.slice(0, -4)) : "is not the name of a ZIP file";
  if (violation) throw untrusted(exportName, `file_name ${quoted(fileName)} ${violation}`);
}

/** Throws unless this can be the requested upload, or any if `askedName` is empty, of a document of this size. */
export function checkUpload(upload: Upload, askedName: string, sizeBytes: number): void {
  const { name, committedSizeBytes, chunkSizeBytes } = upload;
  const fail = (problem: string) => untrusted(askedName || "a new upload", problem);
  if (!uploadName.test(name)) throw fail(`name ${quoted(name)} is not the name of an upload`);
  if (askedName !== "" && name !== askedName) throw fail(`name ${quoted(name)} is of another upload`);
  if (committedSizeBytes < 0n || committedSizeBytes > BigInt(sizeBytes)) {
    throw fail(`committed_size_bytes ${committedSizeBytes} is not between 0 and ${sizeBytes}`);
  }
  if (chunkSizeBytes < 0) throw fail(`chunk_size_bytes ${chunkSizeBytes} is below 0`);
}
