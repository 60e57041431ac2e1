import { TaraExportError } from "tara-export/web";

import { h } from "../dom.js";
import type { Texts } from "../messages/texts.js";

/** Whether, and at which address, the user is notified. */
export interface NotifyChoice {
  isChosen: boolean;
  /** The address that the user entered, if the page gave none. */
  entered: string;
  /** Why the server refused the address, in its own words; empty if it did not. */
  refusal: string;
}

export function newNotifyChoice(): NotifyChoice {
  return { isChosen: false, entered: "", refusal: "" };
}

/** The addresses of StartExport: that of the page, or the entered one. */
export function notifyEmails({ isChosen, entered }: NotifyChoice, given: string): readonly string[] {
  return isChosen ? [given || entered] : [];
}

/** The checkbox, with a field for the address if the page gave none. Updates the choice. */
export class NotifyField {
  readonly element: HTMLElement;
  private readonly checkbox = h("input", { type: "checkbox", id: "notify", "aria-describedby": "notify-error" });
  private readonly error = h("p", { class: "field-error", id: "notify-error" });
  private readonly address: HTMLInputElement | undefined;

  constructor(
    private readonly texts: Texts,
    private readonly choice: NotifyChoice,
    given: string,
  ) {
    const label = given ? texts.text("notify.labelWithAddress", { email: given }) : texts.text("notify.label");
    const line = h("div", { class: "notify-line" }, this.checkbox, h("label", { for: "notify" }, label));
    this.element = h("div", { class: "notify" }, line);
    if (!given) {
      const attributes = { type: "email", id: "notify-address", autocomplete: "email", required: true };
      this.address = h("input", { ...attributes, "aria-describedby": "notify-error" });
      this.address.value = choice.entered;
      const name = h("label", { for: "notify-address" }, texts.text("notify.address"));
      this.element.append(h("div", { class: "notify-address" }, name, this.address));
    }
    this.element.append(this.error);
    this.checkbox.checked = choice.isChosen;
    this.checkbox.addEventListener("change", () => this.changed());
    this.address?.addEventListener("input", () => this.changed());
    const { refusal } = choice;
    this.show(...(refusal ? [`${texts.text("notify.refused")} `, h("span", { lang: "en" }, refusal)] : []));
  }

  /** The control to correct if the server refused the address. */
  get invalidControl(): HTMLElement | undefined {
    return this.choice.refusal === "" ? undefined : (this.address ?? this.checkbox);
  }

  /** Whether the choice can be sent. Otherwise shows why not, and moves the focus there. */
  validate(): boolean {
    if (!this.choice.isChosen || !this.address || this.address.checkValidity()) return true;
    this.show(this.texts.text("notify.invalid"));
    this.address.focus();
    return false;
  }

  private changed(): void {
    this.choice.isChosen = this.checkbox.checked;
    this.choice.entered = this.address?.value ?? "";
    this.choice.refusal = "";
    this.show();
  }

  private show(...error: (string | Node)[]): void {
    this.error.replaceChildren(...error);
    const control = this.address ?? this.checkbox;
    if (error.length > 0) control.setAttribute("aria-invalid", "true");
    else control.removeAttribute("aria-invalid");
    if (this.address) this.address.closest("div")?.toggleAttribute("hidden", !this.choice.isChosen);
  }
}

/** Why the server refused the user's address. Undefined if it refused something else. */
export function addressRefusal(error: unknown): string | undefined {
  if (!(error instanceof TaraExportError) || error.reason !== "INVALID_REQUEST") return undefined;
  const violations = error.fieldViolations;
  const isOfAddress = violations.length > 0 && violations.every(({ field }) => field.startsWith("notify_emails"));
  return isOfAddress ? violations.map(({ description }) => sentence(description)).join(" ") : undefined;
}

/** A text of the server as a sentence. */
function sentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(first) ? first : `${first}.`;
}
