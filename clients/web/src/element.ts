import { type Client, connect } from "tara-export/web";

import type { PreviewFunction, ReviewBackend, StartFunction } from "./backend.js";
import type { EventDetails } from "./events.js";
import { Flow } from "./flow.js";
import { SavedExportStore } from "./saved-export.js";
import styles from "./styles.css";

/**
 * `<complete-review>`: asks where to save the audit bundle of a completed review, explains what will happen,
 * shows the progress, and offers the result for download.
 *
 * Attributes: `server` (the URL of the service), `review-id` (distinguishes the reviews of this page; default:
 * the page's path), `document-name` (shown above the titles).
 */
export class CompleteReview extends HTMLElement {
  static readonly observedAttributes = ["server"];
  private readonly flow: Flow;
  private previewFunction: PreviewFunction | undefined;
  private startFunction: StartFunction | undefined;
  private customClient: Client | undefined;
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
      get savedExport() {
        return new SavedExportStore(element.getAttribute("review-id") ?? location.pathname);
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

  /** Returns the preview of the export. */
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

  /** A client of the service. Set it if the attribute `server` is not sufficient. */
  get client(): Client | undefined {
    return this.customClient ?? this.serverClient;
  }
  set client(client: Client | undefined) {
    this.customClient = client;
    this.resume();
  }

  /** Opens the dialog in its current state: the choice, a running export, or a finished one. */
  open(): void {
    this.flow.open();
  }

  connectedCallback(): void {
    // Properties that were set before this class was defined shadow the accessors.
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

  /** Resumes an export from before a reload, once all required properties are set. */
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
