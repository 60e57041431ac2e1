import { open, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

import type { ByteSource } from "../source.js";

/** A file as a document's content. It is read piece by piece when it is sent, and must not change until then. */
export async function fileContent(path: string): Promise<ByteSource> {
  const { size } = await stat(path);
  const read = async (start: number, end: number) => {
    const file = await open(path);
    try {
      const piece = new Uint8Array(end - start);
      let done = 0;
      while (done < piece.byteLength) {
        const { bytesRead } = await file.read(piece, done, piece.byteLength - done, start + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return piece.subarray(0, done);
    } finally {
      await file.close();
    }
  };
  return { sizeBytes: size, read };
}

/** Writes a file that is there only once every byte came. */
export async function writeFileWhole(
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
