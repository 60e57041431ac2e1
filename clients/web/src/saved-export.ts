import type { PreviewExportResponse } from "tara-export/web";

import type { DestinationChoice } from "./backend.js";

/** A document that the page sends. */
export interface SentFile {
  fileName: string;
  sizeBytes: number;
}

/** The saved state of an export in this tab. */
export interface SavedExport {
  /** Generated once for each choice, so that a retry never creates a second bundle. */
  requestId: string;
  destination: DestinationChoice;
  /**
   * - `sending`: the page sends the review, and the server has not accepted it;
   * - `interrupted`: the same, and the user has seen that sending stopped;
   * - `accepted`: the server finishes the export;
   * - `seen`: the user has seen the result and closed the dialog.
   */
  phase: "sending" | "interrupted" | "accepted" | "seen";
  /** The addresses that are notified. Kept until the export is accepted, because a retry sends the same request. */
  notifyEmails: readonly string[];
  /** The documents of the preview, until the export is accepted. */
  files?: readonly SentFile[] | undefined;
  /** The large documents that were read or uploaded, until the export is accepted. */
  large?: readonly SentFile[] | undefined;
  /** exports/{export_id}, once known. */
  name?: string;
}

const phases: readonly unknown[] = ["sending", "interrupted", "accepted", "seen"] satisfies SavedExport["phase"][];

function listOf<T>(value: readonly T[] | undefined, isEntry: (entry: unknown) => boolean): readonly T[] {
  return Array.isArray(value) ? value.filter(isEntry) : [];
}

function isFile(entry: unknown): boolean {
  const { fileName, sizeBytes } = (entry ?? {}) as Partial<SentFile>;
  return typeof fileName === "string" && typeof sizeBytes === "number";
}

/** Saves the export of one review in `sessionStorage`, so that it can be watched after a reload. */
export class SavedExportStore {
  constructor(readonly reviewId: string) {}

  read(): SavedExport | undefined {
    try {
      const text = sessionStorage.getItem(this.key);
      const value: Partial<SavedExport> | null = text ? JSON.parse(text) : null;
      const isValid =
        typeof value?.requestId === "string" &&
        ["s3", "local"].includes(value.destination ?? "") &&
        phases.includes(value.phase);
      if (!isValid) return undefined;
      const { requestId, destination, phase, name } = value as SavedExport;
      const emails = listOf(value.notifyEmails, (email) => typeof email === "string");
      const [files, large] = [listOf(value.files, isFile), listOf(value.large, isFile)];
      return {
        ...{ requestId, destination, phase, files, large, notifyEmails: emails },
        ...(typeof name === "string" && { name }),
      };
    } catch {
      // Storage is disabled, or the value is not from this element.
      return undefined;
    }
  }

  write(saved: SavedExport): void {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(saved));
    } catch {
      // Without storage, a reload shows the choice again. The export continues.
    }
  }

  clear(): void {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // Storage is disabled.
    }
  }

  private get key(): string {
    return `complete-review:${this.reviewId}`;
  }
}

/** The saved state of an export that the server accepted: without what only a repeated request needs. */
export function accepted({ files, large, ...saved }: SavedExport, name: string): SavedExport {
  return { ...saved, phase: "accepted", notifyEmails: [], name };
}

/** The documents of a preview. */
export function documentsOf({ artifacts }: PreviewExportResponse): SentFile[] {
  const documents = artifacts.filter(({ path }) => path.startsWith("documents/"));
  return documents.map(({ path, sizeBytes }) => ({
    fileName: path.slice(path.lastIndexOf("/") + 1),
    sizeBytes: Number(sizeBytes),
  }));
}

/** The documents of an interrupted export that the preview does not have, by their sizes. */
export function missingFiles(saved: SavedExport | undefined, preview: PreviewExportResponse): SentFile[] {
  if (saved?.phase !== "interrupted") return [];
  const { files = [], large = [] } = saved;
  const present = documentsOf(preview).map(({ sizeBytes }) => sizeBytes);
  return files
    .filter(({ sizeBytes }) => !present.includes(sizeBytes))
    .map((file) => large.find(({ sizeBytes }) => sizeBytes === file.sizeBytes) ?? file);
}
