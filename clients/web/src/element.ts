import { type Client, connect, type Token } from "tara-export/web";

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
 * the page's path), `document-name` (shown above the titles). The token is a property only: an attribute is visible in
 * the page's source and its snapshots.
 */
export class CompleteReview extends HTMLElement {
  static readonly observedAttributes = ["server", "token"];
  private readonly flow: Flow;
  private previewFunction: PreviewFunction | undefined;
  private startFunction: StartFunction | undefined;
  private customClient: Client | undefined;
  private serverClient: Client | undefined;
  /** Private, so that it is not shown with the element. */
  #token: Token | undefined;
  private isInsecureTokenAllowed = false;

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

  /**
   * The bearer token of calls to `server`, or a function that returns it, which is called before every call. Throws a
   * TypeError if the token is not valid, or if it would be sent without TLS to another machine.
   */
  get token(): Token | undefined {
    return this.#token;
  }
  set token(token: Token | undefined) {
    this.serverClient = this.connected(this.getAttribute("server"), token, this.isInsecureTokenAllowed);
    this.#token = token;
    this.resume();
  }

  /** Whether the token is sent without TLS to other machines. Set it before `token`. Default: false. */
  get allowInsecureToken(): boolean {
    return this.isInsecureTokenAllowed;
  }
  set allowInsecureToken(allowInsecureToken: boolean) {
    this.serverClient = this.connected(this.getAttribute("server"), this.#token, allowInsecureToken);
    this.isInsecureTokenAllowed = allowInsecureToken;
    this.resume();
  }

  /** Opens the dialog in its current state: the choice, a running export, or a finished one. */
  open(): void {
    this.flow.open();
  }

  connectedCallback(): void {
    // Properties that were set before this class was defined shadow the accessors.
    for (const name of ["allowInsecureToken", "token", "preview", "start", "client"] as const) {
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

  attributeChangedCallback(name: string, _old: string | null, value: string | null): void {
    if (name === "token") {
      if (value === null) return;
      this.removeAttribute("token");
      console.warn("<complete-review> ignores the attribute token, which the page's source shows. Set the property.");
      return;
    }
    this.serverClient = this.connected(value, this.#token, this.isInsecureTokenAllowed);
    this.resume();
  }

  private connected(server: string | null, token: Token | undefined, allowInsecureToken: boolean): Client | undefined {
    if (server === null) return undefined;
    return connect(new URL(server, location.href).href.replace(/\/$/, ""), { token, allowInsecureToken });
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
