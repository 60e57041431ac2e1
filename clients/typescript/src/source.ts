import { Code } from "@connectrpc/connect";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";

import { ClientReason, TaraExportError } from "./error.js";

/** Bytes that are somewhere else, read piece by piece. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** The bytes from `start` up to `end`, which is not beyond the size. */
  read(start: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
}

/** What a document's content can be given as. */
export type Content = Uint8Array | Blob | ByteSource;

/** A digest in the making. */
export interface Hasher {
  update(data: Uint8Array): void;
  /** 64 lower-case hexadecimal digits. */
  hex(): string;
}

/** SHA-256 in JavaScript: browsers' own wants everything at once, and a secure page. */
export function portableSha256(): Hasher {
  const hash = sha256.create();
  return { update: (data) => void hash.update(data), hex: () => bytesToHex(hash.digest()) };
}

/** Any content as a source that says of its failures what they are. */
export function sourceOf(content: Content): ByteSource {
  if (content instanceof Uint8Array) {
    // A copy: the caller's array may be a view of memory that it uses again.
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
    throw unreadable("it became shorter while it was read");
  };
  return { sizeBytes: source.sizeBytes, read };
}

function blobSource(blob: Blob): ByteSource {
  const read = async (start: number, end: number) => new Uint8Array(await blob.slice(start, end).arrayBuffer());
  return { sizeBytes: blob.size, read };
}

function unreadable(message: string, cause?: unknown): TaraExportError {
  const reason = ClientReason.UNREADABLE;
  return new TaraExportError(Code.FailedPrecondition, `a document can't be read: ${message}`, { reason, cause });
}

/** Bytes of one read: a message of UploadDocument. */
export const PIECE_BYTES = 1024 * 1024;

/** The source from an offset on, in pieces. */
export async function* pieces(source: ByteSource, from = 0): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (let start = from; start < source.sizeBytes; start += PIECE_BYTES) {
    yield await source.read(start, Math.min(start + PIECE_BYTES, source.sizeBytes));
  }
}

/** The source's digest. */
export async function digestOf(source: ByteSource, hasher: Hasher): Promise<string> {
  for await (const piece of pieces(source)) hasher.update(piece);
  return hasher.hex();
}
