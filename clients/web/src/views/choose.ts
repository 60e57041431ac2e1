import { ExportOption_Kind as Kind, type PreviewExportResponse } from "tara-export/web";

import type { DestinationChoice } from "../backend.js";
import { button, h } from "../dom.js";
import { formatBytes, formatFiles } from "../format.js";
import type { View } from "../shell.js";
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

/** The choice of the destination, with warnings and the contents of the bundle. */
export function chooseView(
  preview: PreviewExportResponse,
  chosen: DestinationChoice | undefined,
  on: { change: (chosen: DestinationChoice) => void; onContinue: () => void; cancel: () => void },
): View {
  const cancel = preview.options.find(({ kind }) => kind === Kind.CANCEL);
  const cancelLabel = cancel?.label || "Cancel";
  const explanation = cancel?.explanation && h("p", { class: "hint", id: "cancel-hint" });
  if (explanation) explanation.append(h("strong", {}, `${cancelLabel}: `), cancel.explanation);
  const describedBy = explanation ? { "aria-describedby": "cancel-hint" } : {};
  const continueButton = button("Continue", "primary", on.onContinue);
  continueButton.disabled = chosen === undefined;
  return {
    title: "Where should the audit bundle go?",
    body: [
      h(
        "p",
        { class: "lead" },
        "The completed review is saved as an audit bundle: one folder in which any later change can be detected.",
      ),
      ...warnings(preview),
      choices(preview, chosen, on.change),
      contents(preview),
    ],
    footer: [
      ...(explanation ? [explanation] : []),
      button(cancelLabel, "secondary", on.cancel, describedBy),
      continueButton,
    ],
  };
}

function warnings({ warnings }: PreviewExportResponse): HTMLElement[] {
  const [first] = warnings;
  if (!first) return [];
  if (warnings.length === 1) return [notice("warning", h("p", { "data-reason": first.reason }, first.message))];
  const list = h("ul", {}, ...warnings.map(({ message, reason }) => h("li", { "data-reason": reason }, message)));
  return [notice("warning", h("h3", {}, "Before you continue"), list)];
}

function choices(
  { options }: PreviewExportResponse,
  chosen: DestinationChoice | undefined,
  change: (chosen: DestinationChoice) => void,
): HTMLElement {
  const group = h("fieldset", { class: "choices" }, h("legend", { class: "visually-hidden" }, "Destination"));
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
    const badge = option.recommended && h("span", { class: "badge" }, "Recommended");
    // Only the name of the option is its label; the rest is its description.
    const name = h("label", { for: id, class: "choice-label" }, option.label);
    const hint = option.available ? option.explanation : option.unavailableReason;
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

function contents({ artifacts, sizeBytes }: PreviewExportResponse): HTMLElement {
  const rows = artifacts.map(({ path, sizeBytes }) =>
    h("li", {}, pathLabel(path), h("span", { class: "size" }, formatBytes(sizeBytes))),
  );
  const summary = h(
    "summary",
    {},
    h("strong", {}, formatFiles(artifacts.length)),
    ` · ${formatBytes(sizeBytes)} · and a manifest with the digest of each file`,
  );
  return h("details", { class: "contents" }, summary, h("ul", { class: "files" }, ...rows));
}
