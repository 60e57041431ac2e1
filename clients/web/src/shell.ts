import { h } from "./dom.js";

/** The content of a dialog. */
export interface View {
  title: string;
  /** An icon next to the title. */
  mark?: Node;
  body: readonly Node[];
  /** Buttons, with the primary one last. */
  footer: readonly Node[];
  /** The element that gets the focus. Default: the title. */
  focus?: HTMLElement | undefined;
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
  /** Called when the dialog has closed, before the focus returns. */
  onClosed = () => {};
  private initialFocus: HTMLElement;

  /** `onDismiss` is called for the Escape key and other close requests. */
  constructor(name: string, onDismiss: () => void) {
    const titleId = `${name}-title`;
    // The title gets the focus when the content changes, so that screen readers read it first.
    this.title = h("h2", { id: titleId, tabindex: "-1" });
    this.initialFocus = this.title;
    const header = h("header", {}, this.mark, h("div", {}, this.eyebrow, this.title));
    this.dialog = h("dialog", { class: name, "aria-labelledby": titleId, part: "dialog" });
    this.dialog.append(header, this.body, this.footer, this.status);
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      onDismiss();
    });
    this.body.addEventListener("scroll", () => this.showMore(), { passive: true });
    // The size of the content changes with each update, and that of the dialog with the window.
    const resized = new ResizeObserver(() => this.showMore());
    resized.observe(this.body);
    new MutationObserver(() => this.showMore()).observe(this.body, { childList: true, subtree: true });
    this.body.addEventListener("toggle", () => this.showMore(), { capture: true });
  }

  get isOpen(): boolean {
    return this.dialog.open;
  }

  /** Changes the content, and opens the dialog if it is closed. */
  show(view: View, eyebrow: string, language: string): void {
    this.fill(view, eyebrow, language);
    this.open();
  }

  /** Changes the content without opening the dialog. */
  fill({ title, mark, body, footer, focus }: View, eyebrow: string, language: string): void {
    this.dialog.lang = language;
    this.eyebrow.textContent = eyebrow;
    this.eyebrow.hidden = eyebrow === "";
    this.title.textContent = title;
    this.mark.replaceChildren(...(mark ? [mark] : []));
    this.mark.hidden = !mark;
    this.body.replaceChildren(...body);
    this.footer.replaceChildren(...footer);
    this.status.textContent = "";
    this.body.scrollTop = 0;
    this.initialFocus = focus ?? this.title;
    if (this.dialog.open) this.initialFocus.focus();
    this.showMore();
  }

  /** Opens the dialog with its current content. */
  open(): void {
    if (!this.dialog.open) {
      this.opener = deepActiveElement();
      this.dialog.showModal();
    }
    this.initialFocus.focus();
    this.showMore();
  }

  /** Announces a text to screen readers after their current output. */
  announce(text: string): void {
    this.status.textContent = text;
  }

  close(): void {
    if (!this.dialog.open) return;
    this.dialog.close();
    this.onClosed();
    if (this.opener instanceof HTMLElement && this.opener.isConnected) this.opener.focus();
    this.opener = null;
  }

  /** Marks the edges beyond which there is more content, and makes a body that scrolls reachable with the keyboard. */
  private showMore(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.body;
    this.body.classList.toggle("more-above", scrollTop > 1);
    this.body.classList.toggle("more-below", scrollTop + clientHeight < scrollHeight - 1);
    if (scrollHeight > clientHeight + 1 && !this.body.querySelector("button, input, summary")) {
      this.body.tabIndex = 0;
      this.body.setAttribute("role", "group");
      this.body.setAttribute("aria-labelledby", this.title.id);
    } else {
      for (const name of ["tabindex", "role", "aria-labelledby"]) this.body.removeAttribute(name);
    }
  }
}

function deepActiveElement(): Element | null {
  let active = document.activeElement;
  while (active?.shadowRoot?.activeElement) active = active.shadowRoot.activeElement;
  return active;
}
