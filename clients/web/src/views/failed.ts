import { Code, TaraExportError } from "tara-export/web";

import { button, h, icon } from "../dom.js";
import { QuarantinedError } from "../follow.js";
import { en, type Key } from "../messages/en.js";
import type { Texts } from "../messages/texts.js";
import { NetworkError, PageError } from "../page-error.js";
import type { View } from "../shell.js";

/**
 * What failed:
 * - `preview`: nothing is started;
 * - `start`: the server did not confirm the export;
 * - `refused`: the server refused it, or it ended without a bundle;
 * - `look`: following an export of which it is not known whether the server accepted it;
 * - `follow`: following an accepted export.
 */
export type FailedStep = "preview" | "start" | "refused" | "look" | "follow";

/** A failure in terms that the user understands. */
export interface Failure {
  title: string;
  messages: readonly string[];
  /** Technical details for the administrator, in English. */
  detail: string;
  /** The problem of each field. */
  fields: readonly string[];
}

/** Whether the server cannot be reached, in contrast to an answer with an error. */
export function isUnreachable(error: unknown): boolean {
  if (error instanceof NetworkError) return true;
  if (!(error instanceof TaraExportError) || error.code !== Code.Unavailable) return false;
  // The last of several attempts can have been answered by the server.
  if (error.reason === "LOST_CONTACT" && error.cause instanceof TaraExportError) return isUnreachable(error.cause);
  return !error.isFromServer;
}

/** Describes a failure to the user. */
export function describeFailure(texts: Texts, error: unknown, step: FailedStep): Failure {
  const detail = error instanceof TaraExportError ? detailOf(error) : "";
  if (isUnreachable(error)) {
    const offline = navigator.onLine ? [] : [texts.text("failed.offline")];
    // An answer of the server is not unreachable.
    const doing = step === "refused" ? "start" : step;
    const messages = [...offline, texts.text(`failed.unreachable.${doing}`)];
    return { title: texts.text("failed.title.unreachable"), messages, detail, fields: [] };
  }
  const fields = error instanceof TaraExportError ? error.fieldViolations : [];
  const follow = step === "follow" ? [texts.text("failed.follow")] : [];
  return {
    title: texts.text(`failed.title.${step === "look" ? "follow" : step}`),
    messages: [messageOf(texts, error), ...follow],
    detail,
    fields: fields.map(({ field, description }) => `${field}: ${description}`),
  };
}

/** The message of an error in the user's language. Errors of the page's own functions have their own text. */
export function messageOf(texts: Texts, error: unknown): string {
  if (error instanceof PageError) return texts.text(error.key, error.values);
  if (error instanceof QuarantinedError) return texts.text("error.QUARANTINED");
  if (isUnreachable(error)) return texts.text("error.unreachable");
  if (!(error instanceof TaraExportError)) return error instanceof Error ? error.message : String(error);
  if (error.reason === "LOST_CONTACT" && error.cause instanceof TaraExportError) return messageOf(texts, error.cause);
  return messageOfReason(texts, error.reason ?? "") ?? texts.text(keysByCode.get(error.code) ?? "error.other");
}

/** The message of one of the server's or the client's reasons; undefined if there is none. */
export function messageOfReason(texts: Texts, reason: string): string | undefined {
  const key = `error.${reason}`;
  return isErrorKey(key) ? texts.text(key) : undefined;
}

type ErrorKey = Extract<Key, `error.${string}`>;

function isErrorKey(key: string): key is ErrorKey {
  return Object.hasOwn(en, key);
}

const keysByCode = new Map<Code, ErrorKey>([
  [Code.Unauthenticated, "error.unauthenticated"],
  [Code.PermissionDenied, "error.permissionDenied"],
  [Code.Unavailable, "error.unavailable"],
  [Code.ResourceExhausted, "error.unavailable"],
  [Code.DeadlineExceeded, "error.DEADLINE_PASSED"],
]);

function detailOf(error: TaraExportError): string {
  return [error.codeName, error.reason, error.message].filter(Boolean).join(" · ");
}

/** The error, with buttons to continue. */
export function failedView(
  texts: Texts,
  failure: Failure,
  on: { retry: () => void; close: () => void; chooseAgain?: (() => void) | undefined },
): View {
  const fields = failure.fields.map((text) => h("li", { lang: "en" }, text));
  return {
    title: failure.title,
    mark: h("span", { class: "seal error" }, icon("error")),
    body: [
      ...failure.messages.map((message) => h("p", { class: "lead message" }, message)),
      ...(fields.length > 0
        ? [h("p", { class: "hint" }, texts.text("failed.fields")), h("ul", { class: "fields" }, ...fields)]
        : []),
      ...(failure.detail ? [administratorDetail(texts, failure.detail)] : []),
    ],
    footer: [
      button(texts.text("action.close"), "secondary", on.close),
      ...(on.chooseAgain ? [button(texts.text("action.chooseAgain"), "secondary", on.chooseAgain)] : []),
      button(texts.text("action.tryAgain"), "primary", on.retry),
    ],
  };
}

/** The server's own text, which is in English. */
export function administratorDetail(texts: Texts, detail: string): HTMLElement {
  return h("p", { class: "hint" }, `${texts.text("failed.administrator")} `, h("code", { lang: "en" }, detail));
}
