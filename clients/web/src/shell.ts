import { h } from "./dom.js";

/** The content of a dialog. */
export interface View {
  title: string;
  /** An icon next to the title. */
  mark?: Node;
  body: readonly Node[];
  /** Buttons, with the primary one last. */
  footer: readonly Node[];
}

/** A modal dialog whose content can change while it is open. */
export class DialogShell {
  readonly dialog: HTMLDialogElement;
  private readonly eyebrow = h("p", { class: "eyebrow" });
  private readonly mark = h("div", { class: "mark" });
  private readonly title: HTMLHeadingElement;
  private readonly body = h("div", { class: "body" });
  private readonly footer = h("footer");
  private readonly status = h("p", { class: "visually-hidden", role: "status" });
  private opener: Element | null = null;

  /** `onDismiss` is called for the Escape key and other close requests. */
  constructor(name: string, onDismiss: () => void) {
    const titleId = `${name}-title`;
    // The title gets the focus when the content changes, so that screen readers read it first.
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

  /** Changes the content, and opens the dialog if it is closed. */
  show(view: View, eyebrow: string): void {
    this.fill(view, eyebrow);
    this.open();
  }

  /** Changes the content without opening the dialog. */
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

  /** Opens the dialog with its current content. */
  open(): void {
    if (!this.dialog.open) {
      this.opener = deepActiveElement();
      this.dialog.showModal();
    }
    this.title.focus();
  }

  /** Announces a text to screen readers after their current output. */
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
