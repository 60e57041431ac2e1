import type { DestinationChoice } from "./backend.js";

/** What the page remembers of an export while it lives in this tab. */
export interface Remembered {
  /** Made once for a choice, so that sending it again never makes a second bundle. */
  requestId: string;
  destination: DestinationChoice;
  /** exports/{export_id}, once it is known. */
  name?: string;
  /** Whether the person has seen the end and closed the dialog. */
  isSeen?: boolean;
}

/** The tab's memory of one review's export: it survives a reload, and nothing else. */
export class Memory {
  constructor(private readonly reviewId: string) {}

  read(): Remembered | undefined {
    try {
      const text = sessionStorage.getItem(this.key);
      const value: Partial<Remembered> | null = text ? JSON.parse(text) : null;
      const isWhole = typeof value?.requestId === "string" && ["s3", "local"].includes(value.destination ?? "");
      return isWhole ? (value as Remembered) : undefined;
    } catch {
      // Storage that is switched off, or another's value.
      return undefined;
    }
  }

  write(remembered: Remembered): void {
    try {
      sessionStorage.setItem(this.key, JSON.stringify(remembered));
    } catch {
      // Without storage a reload starts again from the choice; the export itself goes on.
    }
  }

  forget(): void {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // There is none.
    }
  }

  private get key(): string {
    return `complete-review:${this.reviewId}`;
  }
}
