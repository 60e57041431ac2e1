import type { ExportProgress } from "./progress.js";

/** What a page can show about its export while the dialog is closed. */
export interface ReviewStatus {
  /**
   * - `idle`: there is nothing to show;
   * - `sending`: the server has not accepted the export, and needs this page;
   * - `running`: the server works on it;
   * - `reconnecting`: the same, and the connection is lost;
   * - `saved`, `provisional`: the bundle is complete; on the server's disk until it is synced to S3;
   * - `failed`: there is no bundle;
   * - `unknown`: the server cannot be reached, or does not report the result;
   * - `interrupted`: sending stopped before the server had everything.
   */
  readonly phase:
    | "idle"
    | "sending"
    | "running"
    | "reconnecting"
    | "saved"
    | "provisional"
    | "failed"
    | "unknown"
    | "interrupted";
  /** From 0 to 1; undefined if it is not known. */
  readonly share: number | undefined;
  /** Whether the dialog is open. */
  readonly isOpen: boolean;
}

/** The status of a running export. */
export function statusOf(progress: ExportProgress): Pick<ReviewStatus, "phase" | "share"> {
  if (progress.isReconnecting) return { phase: "reconnecting", share: undefined };
  const phase = progress.isAccepted ? "running" : "sending";
  return { phase, share: progress.share };
}
