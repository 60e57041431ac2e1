import type { ExportResult } from "tara-export/web";

/** The events of the element and their details. */
export interface EventDetails {
  /** The server accepted the export and will finish it. */
  started: { name: string; requestId: string };
  /** The progress of the export changed. */
  progress: { artifactsDone: number; artifactsTotal: number; bytesDone: number; bytesTotal: number };
  /** The bundle is complete, possibly on the server's disk after a fallback (`result.fellBack`). */
  completed: { result: ExportResult };
  /** The export failed, or its state is unknown. */
  failed: { error: unknown };
  /** The user chose not to export. */
  cancelled: undefined;
  /** The user closed the dialog. A running export continues. */
  closed: undefined;
  /** The user chose to start a new review. */
  "new-review": { result: ExportResult };
}
