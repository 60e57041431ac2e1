import { Code, TaraExportError } from "tara-export/web";

import { button, h, icon } from "../dom.js";
import type { View } from "../shell.js";

/** What went wrong, for a person. */
export interface Failure {
  title: string;
  message: string;
  /** What a person can tell an operator. */
  detail: string;
  /** What is wrong with each field. */
  fields: readonly string[];
}

/** The server's reasons for people who know nothing of S3; its own words are for the administrator. */
const plainWords: Record<string, string> = {
  LOCAL_STORE_FULL: "The server’s disk is full. Somebody has to make room there first.",
  NO_BUCKET: "This server has no S3 bucket. The bundle can be saved on the server itself.",
  OVERLOADED: "The server has too much to do at the moment. Wait a little, then try again.",
  REQUEST_ID_REUSED: "This export was begun before, with other content. Trying again begins a new one.",
  REQUEST_TOO_LARGE: "The review is larger than the server takes.",
  SOURCE_LOST: "A document that the review names is no longer where it was.",
  STORE_DENIED: "S3 does not let the server in. Somebody has to give it access first.",
  STORE_MISCONFIGURED: "S3 does not work as the server is set up. Somebody has to correct its settings first.",
  STORE_UNAVAILABLE: "S3 can’t be reached at the moment. Wait a little, then try again.",
};

/** Any failure in plain words. */
export function describeFailure(error: unknown, title: string): Failure {
  if (!(error instanceof TaraExportError)) {
    return { title, message: error instanceof Error ? error.message : String(error), detail: "", fields: [] };
  }
  const known = plainWords[error.reason ?? ""];
  const detail = [error.codeName, error.reason, known && error.message].filter(Boolean).join(" · ");
  const fields = error.fieldViolations.map(({ field, description }) => `${field}: ${description}`);
  const isAway = error.code === Code.Unavailable && !error.isAnswer;
  const away = "The server can’t be reached. If the export had begun, it goes on there.";
  const message = isAway ? away : (known ?? sentence(error.message));
  return { title, message, detail, fields };
}

/** An error, and a way on. */
export function failedView(
  failure: Failure,
  on: { again: () => void; close: () => void; chooseAgain?: (() => void) | undefined },
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
      button("Try again", "primary", on.again),
    ],
  };
}

function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
