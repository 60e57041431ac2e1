import {
  type ExportOption,
  ExportOption_Kind as Kind,
  type PreviewExportResponse,
  type Warning,
} from "tara-export/web";

import type { DestinationChoice, FallbackChoice } from "../backend.js";
import { button, h } from "../dom.js";
import { en, type Key } from "../messages/en.js";
import type { Texts } from "../messages/texts.js";
import type { SentFile } from "../saved-export.js";
import type { View } from "../shell.js";
import type { NotifyField } from "./notify.js";
import { notice, pathLabel } from "./parts.js";

const destinations = new Map<Kind, DestinationChoice>([
  [Kind.S3, "s3"],
  [Kind.LOCAL, "local"],
]);

/** The suggested destination: the recommended one, or the first available one. */
export function suggestedDestination({ options }: PreviewExportResponse): DestinationChoice | undefined {
  const available = options.filter(({ kind, available }) => available && destinations.has(kind));
  const suggested = available.find(({ recommended }) => recommended) ?? available[0];
  return suggested && destinations.get(suggested.kind);
}

/** What the choice is about. */
export interface Choice {
  preview: PreviewExportResponse;
  fallback: FallbackChoice;
  /** Files of an interrupted export that the preview does not have. */
  missingFiles: readonly SentFile[];
}

/** The choice of the destination, with warnings and the contents of the bundle. */
export function chooseView(
  texts: Texts,
  { preview, fallback, missingFiles }: Choice,
  chosen: DestinationChoice | undefined,
  notify: NotifyField | undefined,
  on: { change: (chosen: DestinationChoice) => void; onContinue: () => void; cancel: () => void },
): View {
  const cancelLabel = texts.text("action.cancel");
  const explanation = h("p", { class: "hint", id: "cancel-hint" });
  explanation.append(h("strong", {}, `${cancelLabel}: `), texts.text("option.cancel.explanation"));
  const continueButton = button(texts.text("action.continue"), "primary", () => {
    if (notify?.validate() ?? true) on.onContinue();
  });
  continueButton.disabled = chosen === undefined;
  return {
    title: texts.text("choose.title"),
    body: [
      h("p", { class: "lead" }, texts.text("choose.lead")),
      ...missingFiles.map(({ fileName: file, sizeBytes }) =>
        notice("warning", h("p", {}, texts.text("choose.missingFile", { file, size: texts.bytes(sizeBytes) }))),
      ),
      ...warnings(texts, preview),
      choices(texts, preview, fallback, chosen, on.change),
      ...(notify ? [notify.element] : []),
      contents(texts, preview),
      explanation,
    ],
    focus: notify?.invalidControl,
    footer: [button(cancelLabel, "secondary", on.cancel, { "aria-describedby": "cancel-hint" }), continueButton],
  };
}

function warnings(texts: Texts, { warnings }: PreviewExportResponse): HTMLElement[] {
  const [first] = warnings;
  if (!first) return [];
  if (warnings.length === 1)
    return [notice("warning", h("p", { "data-reason": first.reason }, ...warning(texts, first)))];
  const items = warnings.map((each) => h("li", { "data-reason": each.reason }, ...warning(texts, each)));
  return [notice("warning", h("h3", {}, texts.text("choose.warnings")), h("ul", {}, ...items))];
}

/** Ids in the server's text are details that the catalogue does not have. */
const WITH_DETAIL = "UNKNOWN_ACCEPTED_ID";

function warning(texts: Texts, { reason, message }: Warning): (string | Node)[] {
  const key = `warning.${reason}`;
  if (!isWarningKey(key)) return [h("span", { lang: "en" }, message)];
  const text = texts.text(key);
  return reason === WITH_DETAIL ? [`${text} `, h("span", { class: "detail", lang: "en" }, message)] : [text];
}

function isWarningKey(key: string): key is Extract<Key, `warning.${string}`> {
  return Object.hasOwn(en, key);
}

function choices(
  texts: Texts,
  { options }: PreviewExportResponse,
  fallback: FallbackChoice,
  chosen: DestinationChoice | undefined,
  change: (chosen: DestinationChoice) => void,
): HTMLElement {
  const legend = h("legend", { class: "visually-hidden" }, texts.text("choose.destination"));
  const group = h("fieldset", { class: "choices" }, legend);
  for (const option of options) {
    const destination = destinations.get(option.kind);
    if (!destination) continue;
    const id = `choice-${destination}`;
    const radio = h("input", {
      type: "radio",
      name: "destination",
      id,
      value: destination,
      "aria-describedby": `${id}-hint`,
    });
    radio.checked = destination === chosen;
    radio.disabled = !option.available;
    radio.addEventListener("change", () => change(destination));
    const badge = option.recommended && h("span", { class: "badge" }, texts.text("choose.recommended"));
    // Only the name of the option is its label; the rest is its description.
    const name = h("label", { for: id, class: "choice-label" }, texts.text(`option.${destination}.label`));
    const withoutFallback = destination === "s3" && fallback === "none";
    const explanation = withoutFallback
      ? "option.s3.explanationWithoutFallback"
      : (`option.${destination}.explanation` as const);
    const hint = option.available ? texts.text(explanation) : unavailable(texts, option);
    const text = h(
      "div",
      { class: "choice-text" },
      h("div", { class: "choice-line" }, name, badge),
      h("p", { id: `${id}-hint` }, hint),
    );
    group.append(h("div", { class: option.available ? "choice" : "choice unavailable" }, radio, text));
  }
  return group;
}

/** The only reason of this release's server, which has no code. */
const NO_BUCKET = "This server has no S3 bucket.";

function unavailable(texts: Texts, { unavailableReason: reason }: ExportOption): string {
  return reason === NO_BUCKET ? texts.text("option.s3.unavailable") : `${texts.text("option.unavailable")} ${reason}`;
}

function contents(texts: Texts, { artifacts, sizeBytes }: PreviewExportResponse): HTMLElement {
  const rows = artifacts.map(({ path, sizeBytes }) =>
    h("li", {}, pathLabel(path), h("span", { class: "size" }, texts.bytes(sizeBytes))),
  );
  const files = h("strong", {}, texts.files(artifacts.length));
  const summary = h("summary", {}, ...texts.rich("choose.contents", { files, size: texts.bytes(sizeBytes) }));
  return h("details", { class: "contents" }, summary, h("ul", { class: "files" }, ...rows));
}
