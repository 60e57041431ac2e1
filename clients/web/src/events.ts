import type { ExportResult } from "tara-export/web";

/** What the element tells its page: events of these types, with these details. */
export interface EventDetails {
  /** The export is safe at the server: from now on it is carried to its end. */
  started: { name: string; requestId: string };
  /** There is news of it. */
  progress: { artifactsDone: number; artifactsTotal: number; bytesDone: number; bytesTotal: number };
  /** The bundle is whole; also when it fell back to the server's disk (`result.fellBack`). */
  completed: { result: ExportResult };
  /** There is no bundle, or it is not known. */
  failed: { error: unknown };
  /** The person chose not to export. */
  cancelled: undefined;
  /** The person closed the dialog; a running export goes on. */
  closed: undefined;
  /** The person wants to begin a new review. */
  "new-review": { result: ExportResult };
}
