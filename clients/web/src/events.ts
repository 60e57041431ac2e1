import type { ExportResult } from "tara-export/web";

import type { ReviewStatus } from "./status.js";

/** The events of the element and their details. */
export interface EventDetails {
  /** The server accepted the export and will finish it. */
  started: { name: string; requestId: string };
  /**
   * The progress of the export changed. `bytesDone` are the bytes of complete files, `bytesInFlight` those of files that
   * are being stored.
   */
  progress: {
    artifactsDone: number;
    artifactsTotal: number;
    bytesDone: number;
    bytesTotal: number;
    bytesInFlight: number;
  };
  /** The bundle is complete, possibly on the server's disk after a fallback (`result.fellBack`). */
  completed: { result: ExportResult };
  /** A bundle that fell back is in S3 now: its location, folder and digest have changed. */
  synced: { result: ExportResult };
  /** The export failed, or its state is unknown. */
  failed: { error: unknown };
  /** The user chose not to export. */
  cancelled: undefined;
  /** The user closed the dialog. A running export continues. */
  closed: undefined;
  /** Sending was interrupted, and the user wants to choose these files again. */
  "choose-files": { fileNames: readonly string[] };
  /** The user chose to start a new review. */
  "new-review": { result: ExportResult };
  /** The property `status` changed. */
  "status-change": ReviewStatus;
}
