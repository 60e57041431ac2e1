import { type Client, connect } from "tara-export/web";

import type { PreviewFunction, ReviewBackend, StartFunction } from "./backend.js";
import type { EventDetails } from "./events.js";
import { Flow } from "./flow.js";
import { Memory } from "./memory.js";
import styles from "./styles.css";

/**
 * `<complete-review>`: asks where the audit bundle of a completed review is to go, says what will happen,
 * shows how it goes, and hands out the result.
 *
 * Attributes: `server` (the URL of the service), `review-id` (tells this page's reviews apart; default:
 * the page's path), `document-name` (shown above the titles).
 */
export class CompleteReview extends HTMLElement {
  static readonly observedAttributes = ["server"];
  private readonly flow: Flow;
  private previewFunction: PreviewFunction | undefined;
  private startFunction: StartFunction | undefined;
  private givenClient: Client | undefined;
  private serverClient: Client | undefined;

  constructor() {
    super();
    const element = this;
    this.flow = new Flow({
      get backend() {
        return element.backend;
      },
      get client() {
        return element.client;
      },
      get memory() {
        return new Memory(element.getAttribute("review-id") ?? location.pathname);
      },
      get documentName() {
        return element.getAttribute("document-name") ?? "";
      },
      emit: (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true })),
    });
    const root = this.attachShadow({ mode: "open" });
    const sheet = document.createElement("style");
    sheet.textContent = styles;
    root.append(sheet, this.flow.main.dialog, this.flow.confirm.dialog);
  }

  /** Says what an export would be. */
  get preview(): PreviewFunction | undefined {
    return this.previewFunction;
  }
  set preview(preview: PreviewFunction | undefined) {
    this.previewFunction = preview;
    this.resume();
  }

  /** Starts the export. */
  get start(): StartFunction | undefined {
    return this.startFunction;
  }
  set start(start: StartFunction | undefined) {
    this.startFunction = start;
    this.resume();
  }

  /** The service, where the attribute `server` is not enough. */
  get client(): Client | undefined {
    return this.givenClient ?? this.serverClient;
  }
  set client(client: Client | undefined) {
    this.givenClient = client;
    this.resume();
  }

  /** Opens the dialog where it is: at the choice, at a running export, or at its end. */
  open(): void {
    this.flow.open();
  }

  connectedCallback(): void {
    // What the page has set before this class was there hides the accessors.
    for (const name of ["preview", "start", "client"] as const) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      Object.assign(this, { [name]: value });
    }
    this.resume();
  }

  disconnectedCallback(): void {
    this.flow.stop();
  }

  attributeChangedCallback(_name: string, _old: string | null, server: string | null): void {
    this.serverClient = server === null ? undefined : connect(new URL(server, location.href).href.replace(/\/$/, ""));
    this.resume();
  }

  private get backend(): ReviewBackend | undefined {
    const { preview, start } = this;
    return preview && start && { preview, start };
  }

  /** Once everything is there that it may need, an export of before the reload is taken up. */
  private resume(): void {
    if (this.isConnected && this.backend && this.client) this.flow.resume();
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "complete-review": CompleteReview;
  }
}

/** An event of the element. */
export type CompleteReviewEvent<Type extends keyof EventDetails> = CustomEvent<EventDetails[Type]>;
