import { type Client, connect, type Token } from "tara-export/web";

import type { PreviewFunction, ReviewBackend, StartFunction } from "./backend.js";
import type { EventDetails } from "./events.js";
import { Flow } from "./flow.js";
import type { Messages } from "./messages/en.js";
import { supportedLocale, Texts } from "./messages/texts.js";
import { SavedExportStore } from "./saved-export.js";
import type { ReviewStatus } from "./status.js";
import styles from "./styles.css";

/**
 * `<complete-review>`: asks where to save the audit bundle of a completed review, explains what will happen,
 * shows the progress, and offers the result for download.
 *
 * Attributes: `server` (the URL of the service), `review-id` (distinguishes the reviews of this page; default:
 * the page's path), `document-name` (shown above the titles), `notify-email` (the user's address), `lang` (the language;
 * default: that of the page, else of the browser). The token is a property only: an attribute is visible in the page's
 * source and its snapshots.
 */
export class CompleteReview extends HTMLElement {
  static readonly observedAttributes = ["server", "token", "lang"];
  private readonly flow: Flow;
  private previewFunction: PreviewFunction | undefined;
  private startFunction: StartFunction | undefined;
  private currentTexts: Texts | undefined;
  private readonly pageLanguage = new MutationObserver(() => this.flow.stage.refresh());
  private ownMessages: Partial<Messages> = {};
  /** What happens if S3 is not available to the export that `start` starts. Default: `local`. */
  fallback: ReviewBackend["fallback"];
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
      get notifyEmail() {
        return element.notifyEmail;
      },
      get texts() {
        return element.texts;
      },
      emit: (type, detail) => this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true })),
    });
    const root = this.attachShadow({ mode: "open" });
    const sheet = document.createElement("style");
    sheet.textContent = styles;
    root.append(sheet, this.flow.stage.main.dialog, this.flow.stage.confirm.dialog);
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

  /**
   * The address at which the dialog offers to notify the user by e-mail, as the attribute `notify-email`. Without one,
   * the user can enter an address.
   */
  get notifyEmail(): string {
    return this.getAttribute("notify-email") ?? "";
  }
  set notifyEmail(notifyEmail: string) {
    this.setAttribute("notify-email", notifyEmail);
  }

  /** Texts that replace those of the dialog, by their keys: see `Messages`. */
  get messages(): Partial<Messages> {
    return this.ownMessages;
  }
  set messages(messages: Partial<Messages>) {
    this.ownMessages = messages;
    this.currentTexts = undefined;
    this.flow.stage.refresh();
  }

  /** What a page can show while the dialog is closed. The event `status-change` announces each change. */
  get status(): ReviewStatus {
    return this.flow.stage.status;
  }

  /**
   * The texts in the user's language: that of the nearest attribute `lang`, else of the browser. English if there are no
   * texts in these languages.
   */
  get texts(): Texts {
    const locale = supportedLocale([languageAround(this), ...navigator.languages]);
    if (this.currentTexts?.locale !== locale) this.currentTexts = new Texts(locale, this.ownMessages);
    return this.currentTexts;
  }

  /** Opens the dialog in its current state: the choice, a running export, or a finished one. */
  open(): void {
    this.flow.open();
  }

  connectedCallback(): void {
    // Properties that were set before this class was defined shadow the accessors.
    for (const name of [
      "allowInsecureToken",
      "token",
      "fallback",
      "messages",
      "preview",
      "start",
      "client",
      "notifyEmail",
    ] as const) {
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      Object.assign(this, { [name]: value });
    }
    this.pageLanguage.observe(document.documentElement, { attributeFilter: ["lang"] });
    this.resume();
  }

  disconnectedCallback(): void {
    this.pageLanguage.disconnect();
    this.flow.stop();
  }

  attributeChangedCallback(name: string, _old: string | null, value: string | null): void {
    if (name === "token") {
      if (value === null) return;
      this.removeAttribute("token");
      console.warn("<complete-review> ignores the attribute token, which the page's source shows. Set the property.");
      return;
    }
    if (name === "lang") {
      this.flow.stage.refresh();
      return;
    }
    this.serverClient = this.connected(value, this.#token, this.isInsecureTokenAllowed);
    this.resume();
  }

  private connected(server: string | null, token: Token | undefined, allowInsecureToken: boolean): Client | undefined {
    if (server === null) return undefined;
    const language = () => this.texts.locale;
    return connect(new URL(server, location.href).href.replace(/\/$/, ""), { token, allowInsecureToken, language });
  }

  private get backend(): ReviewBackend | undefined {
    const { preview, start, fallback } = this;
    return preview && start && { preview, start, fallback };
  }

  /** Resumes an export from before a reload, once all required properties are set. */
  private resume(): void {
    if (this.isConnected && this.backend && this.client) this.flow.resume();
  }
}

/** The language of the nearest element with an attribute `lang`, through shadow roots; empty if there is none. */
function languageAround(element: Element): string {
  for (let inner: Element | undefined = element; inner; ) {
    const found = inner.closest("[lang]");
    if (found) return found.getAttribute("lang") ?? "";
    const root = inner.getRootNode();
    inner = root instanceof ShadowRoot ? root.host : undefined;
  }
  return "";
}

declare global {
  interface HTMLElementTagNameMap {
    "complete-review": CompleteReview;
  }
}

/** An event of the element. */
export type CompleteReviewEvent<Type extends keyof EventDetails> = CustomEvent<EventDetails[Type]>;
