import type { Stats } from "node:fs";
import { type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import type { ByteSource } from "../source.js";

/** Files up to this size are read at once: the system may report another size, such as 0 for files of `/proc`. */
const SMALL_BYTES = 1024 * 1024;
/** The most that a file may have that reports at most {@link SMALL_BYTES}. */
const MAX_SMALL_BYTES = 64 * 1024 * 1024;

/**
 * Uses a plain file, or the file to which a link leads, as a document's content. A large file is read in pieces
 * when it is sent, and must not change until then. Throws if the path is a folder, pipe, socket or device.
 */
export async function fileContent(path: string): Promise<ByteSource> {
  // Checked before: to open a pipe can wait for its writer, and to open a device can have an effect.
  checkPlain(path, await stat(path));
  const file = await open(path);
  try {
    const info = await file.stat();
    checkPlain(path, info);
    if (info.size > SMALL_BYTES) return largeFile(path, info.size);
    const content = await readSmall(path, file);
    return { sizeBytes: content.byteLength, read: async (start, end) => content.slice(start, end) };
  } finally {
    await file.close();
  }
}

function largeFile(path: string, sizeBytes: number): ByteSource {
  const read = async (start: number, end: number) => {
    const file = await open(path);
    try {
      const piece = await readAt(file, start, end - start);
      const { size } = await file.stat();
      if (size !== sizeBytes) {
        const change = `it changed from ${sizeBytes} to ${size} bytes while it was read`;
        throw new Error(`${path}: ${change}; send it again when it is complete`);
      }
      return piece;
    } finally {
      await file.close();
    }
  };
  return { sizeBytes, read };
}

async function readSmall(path: string, file: FileHandle): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array<ArrayBuffer>[] = [];
  let sizeBytes = 0;
  for (;;) {
    const piece = await readAt(file, sizeBytes, SMALL_BYTES);
    pieces.push(piece);
    sizeBytes += piece.byteLength;
    if (sizeBytes > MAX_SMALL_BYTES) throw new Error(`${path}: it has more than ${MAX_SMALL_BYTES} bytes`);
    if (piece.byteLength < SMALL_BYTES) break;
  }
  const content = new Uint8Array(sizeBytes);
  let start = 0;
  for (const piece of pieces) {
    content.set(piece, start);
    start += piece.byteLength;
  }
  return content;
}

/** Reads these bytes, or fewer at the end of the file. */
async function readAt(file: FileHandle, start: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const piece = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(piece, done, length - done, start + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return piece.subarray(0, done);
}

function checkPlain(path: string, info: Stats): void {
  if (info.isFile()) return;
  let kind = "a device";
  if (info.isDirectory()) kind = "a folder";
  else if (info.isFIFO()) kind = "a pipe";
  else if (info.isSocket()) kind = "a socket";
  throw new Error(`${path}: it is ${kind}, not a plain file; copy its content to a file first`);
}

/** Writes a file that appears only after all bytes were received. */
export async function writeFileAtomically(
  path: string,
  bytes: AsyncIterable<Uint8Array>,
  onProgress: ((doneBytes: number) => void) | undefined,
): Promise<void> {
  const partial = join(dirname(path), `.${basename(path)}.${crypto.randomUUID()}.part`);
  try {
    const file = await open(partial, "wx");
    try {
      let doneBytes = 0;
      for await (const piece of bytes) {
        await file.writeFile(piece);
        doneBytes += piece.byteLength;
        onProgress?.(doneBytes);
      }
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true });
    throw error;
  }
}
