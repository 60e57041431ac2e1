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

/** Any failure in plain words. */
export function describeFailure(error: unknown, title: string): Failure {
  if (!(error instanceof TaraExportError)) {
    return { title, message: error instanceof Error ? error.message : String(error), detail: "", fields: [] };
  }
  const detail = [error.codeName, error.reason].filter(Boolean).join(" · ");
  const fields = error.fieldViolations.map(({ field, description }) => `${field}: ${description}`);
  const isAway = error.code === Code.Unavailable && !error.isAnswer;
  const message = isAway
    ? "The server can’t be reached. If the export had begun, it goes on there."
    : sentence(error.message);
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
