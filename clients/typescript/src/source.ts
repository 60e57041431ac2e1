import { Code } from "@connectrpc/connect";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

import { ClientReason, TaraExportError } from "./error.js";

/** Bytes of a known size that are read in pieces. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Returns the bytes from `start` to `end` (exclusive), which is at most the size. */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** The supported types of document content. */
export type Content = Uint8Array | Blob | ByteSource;

/** An incremental hash. */
export interface Hasher {
  update(data: Uint8Array): void;
  /** 64 lower-case hexadecimal digits. */
  hex(): string;
}

/** SHA-256 in JavaScript. Web Crypto is not incremental and needs a secure page. */
export function portableSha256(): Hasher {
  const hash = sha256.create();
  return { update: (data) => void hash.update(data), hex: () => bytesToHex(hash.digest()) };
}

/** Converts content to a source that throws a {@link TaraExportError} if it cannot be read. */
export function sourceOf(content: Content): ByteSource {
  if (content instanceof Uint8Array) {
    // Copy: the caller may reuse the memory of the array.
    const read = async (start: number, end: number) => new Uint8Array(content.subarray(start, end));
    return { sizeBytes: content.byteLength, read };
  }
  const source = content instanceof Blob ? blobSource(content) : content;
  const read = async (start: number, end: number) => {
    try {
      const piece = await source.read(start, end);
      if (piece.byteLength === end - start) return piece;
    } catch (cause) {
      throw unreadable(cause instanceof Error ? cause.message : String(cause), cause);
    }
    throw unreadable("it was truncated while being read");
  };
  return { sizeBytes: source.sizeBytes, read };
}

function blobSource(blob: Blob): ByteSource {
  const read = async (start: number, end: number) => new Uint8Array(await blob.slice(start, end).arrayBuffer());
  return { sizeBytes: blob.size, read };
}

function unreadable(message: string, cause?: unknown): TaraExportError {
  const reason = ClientReason.UNREADABLE;
  return new TaraExportError(Code.FailedPrecondition, `cannot read document: ${message}`, { reason, cause });
}

/** Size of one read, which becomes one message of UploadDocument. */
export const PIECE_BYTES = 1024 * 1024;

/** Yields the source in pieces, starting at an offset. */
export async function* pieces(source: ByteSource, from = 0): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let start = from; start < source.sizeBytes; start += PIECE_BYTES) {
    yield await source.read(start, Math.min(start + PIECE_BYTES, source.sizeBytes));
  }
}

/** Computes the digest of the source. `onProgress` is called with the number of bytes that were read. */
export async function digestOf(
  source: ByteSource,
  hasher: Hasher,
  onProgress?: (doneBytes: number) => void,
): Promise<string> {
  let doneBytes = 0;
  for await (const piece of pieces(source)) {
    hasher.update(piece);
    doneBytes += piece.byteLength;
    onProgress?.(doneBytes);
  }
  return hasher.hex();
}
