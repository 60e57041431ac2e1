import { Code, TaraExportError } from "tara-export/web";

import { button, h, icon } from "../dom.js";
import type { View } from "../shell.js";

/** A failure in terms that the user understands. */
export interface Failure {
  title: string;
  message: string;
  /** Technical details for the administrator. */
  detail: string;
  /** The problem of each field. */
  fields: readonly string[];
}

/** User messages by the server's reason. The server's own message is shown to the administrator. */
const userMessages: Record<string, string> = {
  ARCHIVED: "The bundle is in an archive. Ask your administrator to restore it, then try again.",
  LOCAL_STORE_FULL: "The server’s disk is full. Ask your administrator to free disk space.",
  NO_BUCKET: "This server has no S3 bucket. The bundle can be saved on the server itself.",
  OVERLOADED: "The server is busy. Wait a moment, then try again.",
  REQUEST_ID_REUSED: "This export was already started with different content. “Try again” starts a new export.",
  REQUEST_TOO_LARGE: "The review is too large for the server.",
  SOURCE_LOST: "A document of this review is no longer in its original location.",
  STORE_DENIED: "The server does not have access to S3. Ask your administrator to grant access.",
  STORE_MISCONFIGURED: "The server’s S3 settings are wrong. Ask your administrator to correct them.",
  STORE_UNAVAILABLE: "S3 can’t be reached. Wait a moment, then try again.",
};

/** Describes a failure to the user. */
export function describeFailure(error: unknown, title: string): Failure {
  if (!(error instanceof TaraExportError)) {
    return { title, message: error instanceof Error ? error.message : String(error), detail: "", fields: [] };
  }
  const known = userMessages[error.reason ?? ""];
  const detail = [error.codeName, error.reason, known && error.message].filter(Boolean).join(" · ");
  const fields = error.fieldViolations.map(({ field, description }) => `${field}: ${description}`);
  const isUnreachable = error.code === Code.Unavailable && !error.isFromServer;
  const unreachable = "The server can’t be reached. If the export has already started, it continues on the server.";
  const message = isUnreachable ? unreachable : (known ?? sentence(error.message));
  return { title, message, detail, fields };
}

/** The error, with buttons to continue. */
export function failedView(
  failure: Failure,
  on: { retry: () => void; close: () => void; chooseAgain?: (() => void) | undefined },
): View {
  return {
    title: failure.title,
    mark: h("span", { class: "seal error" }, icon("error")),
    body: [
      h("p", { class: "lead message" }, failure.message),
      ...(failure.fields.length > 0
        ? [h("ul", { class: "fields" }, ...failure.fields.map((text) => h("li", {}, text)))]
        : []),
      ...(failure.detail ? [h("p", { class: "hint" }, "For your administrator: ", h("code", {}, failure.detail))] : []),
    ],
    footer: [
      button("Close", "secondary", on.close),
      ...(on.chooseAgain ? [button("Choose again", "secondary", on.chooseAgain)] : []),
      button("Try again", "primary", on.retry),
    ],
  };
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
