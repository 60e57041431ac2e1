import { button, h, icon } from "./dom.js";
import { CompleteReview } from "./element.js";
import type { Texts } from "./messages/texts.js";
import type { ReviewStatus } from "./status.js";
import statusStyles from "./status-element.css";
import styles from "./styles.css";

/**
 * `<complete-review-status>`: shows the running export of a `<complete-review>` whose dialog is closed, and opens the
 * dialog. The attribute `for` is the id of that element; default: the first one of the document. Has no size if there
 * is nothing to show.
 */
export class CompleteReviewStatus extends HTMLElement {
  static readonly observedAttributes = ["for"];
  private readonly box = h("div", { class: "status", part: "status", role: "group", hidden: true });
  private readonly sign = h("span", { class: "sign" });
  private readonly text = h("span", { class: "text" });
  private readonly bar = h("progress");
  private readonly announcement = h("span", { class: "visually-hidden", role: "status" });
  private readonly show: HTMLButtonElement;
  private listeners = new AbortController();
  private shownPhase: ReviewStatus["phase"] = "idle";

  constructor() {
    super();
    this.show = button("", "secondary", () => this.review?.open());
    this.box.append(this.sign, h("span", { class: "main" }, this.text, this.bar), this.show);
    const sheet = document.createElement("style");
    sheet.textContent = styles + statusStyles;
    this.attachShadow({ mode: "open" }).append(sheet, this.box, this.announcement);
  }

  connectedCallback(): void {
    this.listeners = new AbortController();
    const changed = ({ target }: Event) => {
      if (target === this.review) this.update();
    };
    // On the document: the element can be added or replaced later.
    document.addEventListener("status-change", changed, { signal: this.listeners.signal });
    this.update();
  }

  disconnectedCallback(): void {
    this.listeners.abort();
  }

  attributeChangedCallback(): void {
    if (this.isConnected) this.update();
  }

  private get review(): CompleteReview | undefined {
    const id = this.getAttribute("for");
    const found = id === null ? document.querySelector("complete-review") : document.getElementById(id);
    return found instanceof CompleteReview ? found : undefined;
  }

  private update(): void {
    const { review } = this;
    const status = review?.status;
    const text = status && review ? statusText(review.texts, status) : "";
    const isShown = status !== undefined && text !== "" && !status.isOpen;
    this.box.hidden = !isShown;
    if (!isShown || !review) {
      this.announcement.textContent = "";
      this.shownPhase = "idle";
      return;
    }
    for (const element of [this.box, this.announcement]) element.lang = review.texts.locale;
    this.box.setAttribute("aria-label", review.texts.text("status.label"));
    this.box.dataset.phase = status.phase;
    this.text.textContent = text;
    this.show.textContent = review.texts.text("status.open");
    this.bar.hidden = !["sending", "running", "reconnecting"].includes(status.phase);
    this.bar.setAttribute("aria-label", review.texts.text("status.label"));
    if (status.share === undefined) this.bar.removeAttribute("value");
    else this.bar.value = status.share;
    if (status.phase === this.shownPhase) return;
    this.shownPhase = status.phase;
    this.sign.replaceChildren(icon(signs[status.phase]));
    // Not each percentage.
    this.announcement.textContent = text;
  }
}

const signs = {
  idle: "waiting",
  sending: "busy",
  running: "busy",
  reconnecting: "warning",
  saved: "check",
  provisional: "warning",
  failed: "error",
  unknown: "warning",
  interrupted: "warning",
} as const satisfies Record<ReviewStatus["phase"], string>;

/** The text of a status; empty if there is nothing to show. */
function statusText(texts: Texts, { phase, share }: ReviewStatus): string {
  const percent = share === undefined ? undefined : texts.percent(share, 1);
  switch (phase) {
    case "idle":
      return "";
    case "sending":
      return percent ? texts.text("status.sending", { percent }) : texts.text("status.sendingWithoutProgress");
    case "running":
      return percent ? texts.text("status.running", { percent }) : texts.text("status.runningWithoutProgress");
    case "reconnecting":
      return texts.text("status.connectionLost");
    default:
      return texts.text(`status.${phase}`);
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "complete-review-status": CompleteReviewStatus;
  }
}
