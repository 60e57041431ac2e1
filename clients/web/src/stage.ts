import type { Client } from "tara-export/web";

import type { ReviewBackend } from "./backend.js";
import type { EventDetails } from "./events.js";
import type { Texts } from "./messages/texts.js";
import type { ExportProgress } from "./progress.js";
import type { SavedExportStore } from "./saved-export.js";
import { DialogShell, type View } from "./shell.js";
import { type ReviewStatus, statusOf } from "./status.js";
import { RunningView, type Sender } from "./views/running.js";

/** The interface of the element to its flow. */
export interface Host {
  readonly backend: ReviewBackend | undefined;
  /** The client for following exports and downloading bundles. */
  readonly client: Client | undefined;
  readonly savedExport: SavedExportStore;
  readonly documentName: string;
  /** The address at which the user can be notified; empty if the user enters one. */
  readonly notifyEmail: string;
  /** The texts in the user's language. */
  readonly texts: Texts;
  emit<Type extends keyof EventDetails>(type: Type, detail: EventDetails[Type]): void;
}

/** The content of the dialog, and what its Escape key does. Rendered again if the language has changed. */
export interface Step {
  render: (texts: Texts) => View;
  dismiss: () => void;
}

/** The two dialogs, and the status that a page can show while they are closed. */
export class Stage {
  readonly main = new DialogShell("main", () => this.step?.dismiss());
  readonly confirm = new DialogShell("confirm", () => this.confirm.close());
  /** The current step; undefined if nothing is shown or in progress. */
  private step: Step | undefined;
  private shownTexts: Texts | undefined;
  private state: Pick<ReviewStatus, "phase" | "share"> = { phase: "idle", share: undefined };

  constructor(private readonly host: Host) {
    this.main.onClosed = () => this.statusChanged();
  }

  get status(): ReviewStatus {
    return { ...this.state, isOpen: this.main.isOpen };
  }

  /** Whether nothing is shown or in progress. */
  get isIdle(): boolean {
    return this.step === undefined;
  }

  /** Opens the dialog with the current step. */
  open(): void {
    this.refresh();
    this.main.open();
    this.statusChanged();
  }

  /** Shows the current step in the current language. */
  refresh(): void {
    const { texts } = this.host;
    if (!this.step || texts === this.shownTexts) return;
    this.change(this.step);
    this.statusChanged();
  }

  /** Closes the dialogs, and forgets the step. */
  close(): void {
    this.confirm.close();
    this.main.close();
    this.step = undefined;
    this.setStatus("idle");
  }

  show(step: Step): void {
    this.change(step);
    this.open();
  }

  /** Changes the content without opening a closed dialog. */
  change(step: Step): void {
    const { texts, documentName } = this.host;
    this.step = step;
    this.shownTexts = texts;
    this.main.fill(step.render(texts), documentName, texts.locale);
  }

  /** Asks the user to confirm, above the current step. */
  ask(render: (texts: Texts) => View): void {
    const { texts, documentName } = this.host;
    this.confirm.show(render(texts), documentName, texts.locale);
  }

  setStatus(phase: ReviewStatus["phase"], share?: number): void {
    if (phase === this.state.phase && share === this.state.share) return;
    this.state = { phase, share };
    this.statusChanged();
  }

  /** Shows a running export until the signal is aborted. Returns the function that shows its changes. */
  showRunning(
    progress: ExportProgress,
    sender: Sender,
    { cancel, signal, opens }: { cancel: () => void; signal: AbortSignal; opens: boolean },
  ): () => void {
    const hide = () => {
      this.main.close();
      this.host.emit("closed", undefined);
    };
    let view: RunningView | undefined;
    const render = (texts: Texts) => {
      view = new RunningView(texts, sender, { hide, cancel }, (text) => this.main.announce(text));
      view.update(progress);
      return view.view;
    };
    const update = () => {
      view?.update(progress);
      const { phase, share } = statusOf(progress);
      this.setStatus(phase, share);
    };
    const step = { render, dismiss: hide };
    if (opens) this.show(step);
    else this.change(step);
    update();
    const isOffline = () => {
      progress.isReconnecting = true;
      update();
    };
    window.addEventListener("offline", isOffline, { signal });
    return update;
  }

  private statusChanged(): void {
    this.host.emit("status-change", this.status);
  }
}
