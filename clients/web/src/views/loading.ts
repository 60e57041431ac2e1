import { button, h, icon } from "../dom.js";
import type { Texts } from "../messages/texts.js";
import type { View } from "../shell.js";

/** The preview is being loaded. */
export function loadingView(texts: Texts, cancel: () => void): View {
  return {
    title: texts.text("loading.title"),
    body: [h("p", { class: "loading" }, icon("busy"), texts.text("loading.text"))],
    footer: [button(texts.text("action.cancel"), "secondary", cancel)],
  };
}
