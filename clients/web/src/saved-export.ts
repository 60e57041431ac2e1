import type { DestinationChoice } from "./backend.js";

/** The saved state of an export in this tab. */
export interface SavedExport {
  /** Generated once for each choice, so that a retry never creates a second bundle. */
  requestId: string;
  destination: DestinationChoice;
  /** exports/{export_id}, once known. */
  name?: string;
  /** Whether the user has seen the result and closed the dialog. */
  isSeen?: boolean;
}

/** Saves the export of one review in `sessionStorage`, so that it can be resumed after a reload. */
export class SavedExportStore {
  constructor(private readonly reviewId: string) {}

  read(): SavedExport | undefined {
    try {
      const text = sessionStorage.getItem(this.key);
      const value: Partial<SavedExport> | null = text ? JSON.parse(text) : null;
      const isValid = typeof value?.requestId === "string" && ["s3", "local"].includes(value.destination ?? "");
      return isValid ? (value as SavedExport) : undefined;
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
