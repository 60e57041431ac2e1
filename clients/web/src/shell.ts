import { h } from "./dom.js";

/** What a dialog shows. */
export interface View {
  title: string;
  /** An icon beside the title. */
  mark?: Node;
  body: readonly Node[];
  /** Buttons, the one that goes on last. */
  footer: readonly Node[];
}

/** A modal dialog whose content changes while it stays open. */
export class DialogShell {
  readonly dialog: HTMLDialogElement;
  private readonly eyebrow = h("p", { class: "eyebrow" });
  private readonly mark = h("div", { class: "mark" });
  private readonly title: HTMLHeadingElement;
  private readonly body = h("div", { class: "body" });
  private readonly footer = h("footer");
  private readonly status = h("p", { class: "visually-hidden", role: "status" });
  private opener: Element | null = null;

  /** `onDismiss` is told of the Escape key and its like. */
  constructor(name: string, onDismiss: () => void) {
    const titleId = `${name}-title`;
    // Focus goes to the title when the content changes, so that it is read first.
    this.title = h("h2", { id: titleId, tabindex: "-1" });
    const header = h("header", {}, this.mark, h("div", {}, this.eyebrow, this.title));
    this.dialog = h("dialog", { class: name, "aria-labelledby": titleId, part: "dialog" });
    this.dialog.append(header, this.body, this.footer, this.status);
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      onDismiss();
    });
  }

  get isOpen(): boolean {
    return this.dialog.open;
  }

  /** Changes what the dialog shows, and opens it if it is closed. */
  show(view: View, eyebrow: string): void {
    this.fill(view, eyebrow);
    this.open();
  }

  /** Changes what the dialog shows, whether it is open or not. */
  fill({ title, mark, body, footer }: View, eyebrow: string): void {
    this.eyebrow.textContent = eyebrow;
    this.eyebrow.hidden = eyebrow === "";
    this.title.textContent = title;
    this.mark.replaceChildren(...(mark ? [mark] : []));
    this.mark.hidden = !mark;
    this.body.replaceChildren(...body);
    this.footer.replaceChildren(...footer);
    this.status.textContent = "";
    this.body.scrollTop = 0;
    if (this.dialog.open) this.title.focus();
  }

  /** Opens the dialog with what it shows. */
  open(): void {
    if (!this.dialog.open) {
      this.opener = deepActiveElement();
      this.dialog.showModal();
    }
    this.title.focus();
  }

  /** Says something to people who don't see the screen, when they have heard the rest. */
  announce(text: string): void {
    this.status.textContent = text;
  }

  close(): void {
    if (!this.dialog.open) return;
    this.dialog.close();
    if (this.opener instanceof HTMLElement && this.opener.isConnected) this.opener.focus();
    this.opener = null;
  }
}

function deepActiveElement(): Element | null {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active;
}
