import {
  type Client,
  Destination,
  type ExportResult,
  type ExportUpdate,
  type FollowSettings,
  newUuid,
  TaraExportError,
} from "tara-export/web";

import { type DestinationChoice, type ReviewBackend, readPreview } from "./backend.js";
import { downloadArtifact, downloadBundle } from "./download.js";
import { ExportFailedError, Following, isNotHere, isProvisional, whenSynced } from "./follow.js";
import type { Texts } from "./messages/texts.js";
import { onReturn, pause, TabLock, UnloadGuard } from "./page.js";
import { ExportProgress } from "./progress.js";
import { accepted, documentsOf, missingFiles, type SavedExport, type SentFile } from "./saved-export.js";
import { type Host, Stage } from "./stage.js";
import { type Choice, chooseView, suggestedDestination } from "./views/choose.js";
import { type Confirmation, confirmView } from "./views/confirm.js";
import { DoneView } from "./views/done.js";
import { describeFailure, type FailedStep, failedView, isUnreachable } from "./views/failed.js";
import { interruptedView } from "./views/interrupted.js";
import { loadingView } from "./views/loading.js";
import { addressRefusal, NotifyField, newNotifyChoice, notifyEmails } from "./views/notify.js";
import type { Sender } from "./views/running.js";

/** The intervals at which the server is asked for an export that it does not know yet. */
const FIRST_LOOK_MS = 1_000;
const LAST_LOOK_MS = 15_000;

/** The steps from the choice to the bundle. */
export class Flow {
  readonly stage: Stage;
  private current = new AbortController();
  private notify = newNotifyChoice();
  private readonly unloadGuard = new UnloadGuard();
  private readonly tab = new TabLock();

  constructor(private readonly host: Host) {
    this.stage = new Stage(host);
  }

  /** Shows the current step, or starts the flow. */
  open(): void {
    const saved = this.host.savedExport.read();
    if (!this.stage.isIdle) this.stage.open();
    else if (saved && saved.phase !== "interrupted") void this.attach(saved, "unknown");
    else void this.load();
  }

  /** Follows the export that was in progress before the page was reloaded. Never starts one. */
  resume(): void {
    const saved = this.host.savedExport.read();
    const isInProgress = saved?.phase === "sending" || saved?.phase === "accepted";
    if (this.stage.isIdle && isInProgress) void this.attach(saved, "unknown");
  }

  /** Closes the dialogs and stops following. The export continues. */
  stop(): void {
    this.current.abort();
    this.endSending();
    this.stage.close();
  }

  private async load(): Promise<void> {
    const signal = this.begin();
    this.stage.setStatus("idle");
    const cancel = () => this.cancel();
    this.stage.show({ render: (texts) => loadingView(texts, cancel), dismiss: cancel });
    try {
      const other = await this.tab.otherTab(this.host.savedExport.reviewId);
      if (signal.aborted) return;
      // The destination is not known, and is not needed to watch.
      const started = { phase: "sending", destination: "s3", notifyEmails: [] } as const;
      if (other) return void this.attach({ ...started, requestId: other }, "other-tab");
      const { preview, fallback } = this.backend();
      const choice = { language: this.host.texts.locale, signal };
      const [loaded, fallbackChoice] = await Promise.all([
        readPreview(preview, choice),
        typeof fallback === "function" ? fallback() : fallback,
      ]);
      const missing = missingFiles(this.host.savedExport.read(), loaded);
      const choiceOf = { preview: loaded, fallback: fallbackChoice ?? "local", missingFiles: missing } as const;
      if (!signal.aborted) this.choose(choiceOf);
    } catch (error) {
      if (!signal.aborted) this.showFailure(error, "preview", { retry: () => void this.load(), close: cancel });
    }
  }

  private choose(choice: Choice, destination = suggestedDestination(choice.preview)): void {
    let chosen = destination;
    const cancel = () => this.cancel();
    const change = (destination: DestinationChoice) => {
      chosen = destination;
    };
    const email = this.host.notifyEmail;
    const { acceptsNotifyEmails } = choice.preview;
    const onContinue = () => {
      const emails = acceptsNotifyEmails ? notifyEmails(this.notify, email) : [];
      if (chosen) this.askToConfirm(choice, { ...choice, destination: chosen, notifyEmails: emails });
    };
    const render = (texts: Texts) => {
      const notify = acceptsNotifyEmails ? new NotifyField(texts, this.notify, email) : undefined;
      return chooseView(texts, choice, chosen, notify, { change, onContinue, cancel });
    };
    this.stage.change({ render, dismiss: cancel });
  }

  private askToConfirm(choice: Choice, confirmation: Confirmation): void {
    const back = () => this.stage.confirm.close();
    const confirm = () => {
      back();
      this.startNew(confirmation, choice);
    };
    this.stage.ask((texts) => confirmView(texts, confirmation, { confirm, back }));
  }

  private cancel(): void {
    this.notify = newNotifyChoice();
    this.stop();
    this.host.emit("cancelled", undefined);
  }

  private startNew(
    { destination, notifyEmails, files }: Pick<SavedExport, "destination" | "notifyEmails" | "files">,
    choice?: Choice,
  ): void {
    const interrupted = this.host.savedExport.read();
    // The id of an interrupted export: if the server received it after all, there is no second bundle.
    const requestId = interrupted?.phase === "interrupted" ? interrupted.requestId : newUuid();
    const documents = choice ? documentsOf(choice.preview) : files;
    const saved: SavedExport = { requestId, destination, notifyEmails, phase: "sending", files: documents };
    void this.start(saved, choice);
  }

  private async start(saved: SavedExport, choice?: Choice): Promise<void> {
    const signal = this.begin();
    // Save first, so that the export can be watched after a reload.
    this.host.savedExport.write(saved);
    this.unloadGuard.isOn = true;
    this.tab.hold(this.host.savedExport.reviewId, saved.requestId);
    const { requestId, destination, notifyEmails } = saved;
    const progress = new ExportProgress(choice?.preview);
    const show = this.showRunning(progress, "this");
    let name = `exports/${requestId}`;
    const large = new Map<string, SentFile>();
    const onHash: FollowSettings["onHash"] = (step) => {
      const { fileName, sizeBytes } = step;
      if (!large.has(fileName)) {
        large.set(fileName, { fileName, sizeBytes });
        this.host.savedExport.write({ ...saved, large: [...large.values()] });
      }
      progress.applyHash(step);
      show();
    };
    const onRetry = () => {
      progress.isReconnecting = true;
      show();
    };
    try {
      const language = this.host.texts.locale;
      const calls = { language, signal, onHash, onRetry };
      const started = await this.backend().start({ requestId, destination, notifyEmails, ...calls });
      if (signal.aborted) return;
      if (typeof started === "string") {
        name = started;
        this.host.savedExport.write({ ...saved, name });
      }
      const updates = typeof started === "string" ? this.client().watch(name, { signal, onRetry }) : started;
      await this.follow({ ...saved, name }, progress, show, updates, signal);
    } catch (error) {
      if (signal.aborted) return;
      const refusal = saved.notifyEmails.length > 0 ? addressRefusal(error) : undefined;
      if (refusal) this.correctAddress(refusal, error, saved, choice);
      else if (progress.isAccepted) this.failFollowing(error, accepted(saved, name), "follow");
      else this.fail(error, saved, "start", () => void this.start(saved, choice));
    }
  }

  /** Shows the choice again, with the reason why the server refused the address. */
  private correctAddress(refusal: string, error: unknown, saved: SavedExport, choice: Choice | undefined): void {
    this.endSending();
    this.host.savedExport.clear();
    this.notify = { isChosen: true, entered: saved.notifyEmails[0] ?? "", refusal };
    if (choice) this.choose(choice, saved.destination);
    else void this.load();
    this.host.emit("failed", { error });
  }

  /**
   * Follows an export that this or another tab started. Never starts it: this page does not have the files that were
   * chosen.
   */
  private async attach(saved: SavedExport, sender: Sender, opens = true): Promise<void> {
    const signal = this.begin();
    const progress = new ExportProgress();
    progress.isAccepted = saved.phase === "accepted" || saved.phase === "seen";
    if (progress.isAccepted) this.tab.hold(this.host.savedExport.reviewId, saved.requestId);
    const name = saved.name ?? `exports/${saved.requestId}`;
    let shown: Sender | "interrupted" = sender;
    let show = this.showRunning(progress, sender, opens);
    const changed = () => {
      // The server knows the export after all.
      if (shown === "interrupted" && progress.isAccepted) {
        shown = "unknown";
        show = this.showRunning(progress, shown, false);
      }
      if (shown !== "interrupted") show();
    };
    const onRetry = () => {
      progress.isReconnecting = true;
      changed();
    };
    for (let delayMs = FIRST_LOOK_MS; ; delayMs = Math.min(delayMs * 1.5, LAST_LOOK_MS)) {
      try {
        const updates = this.client().watch(name, { signal, onRetry });
        return await this.follow({ ...saved, name }, progress, changed, updates, signal);
      } catch (error) {
        if (signal.aborted) return;
        const step = progress.isAccepted ? "follow" : "look";
        if (!isNotHere(error) || progress.isAccepted) return this.failFollowing(error, saved, step);
      }
      const other = await this.tab.otherTab(this.host.savedExport.reviewId);
      if (signal.aborted) return;
      if (other === saved.requestId) {
        if (shown !== "other-tab") show = this.showRunning(progress, "other-tab", false);
        shown = "other-tab";
      } else if (sender === "other-tab") {
        // The other tab ended before the server had everything.
        return this.load();
      } else if (shown !== "interrupted") {
        shown = "interrupted";
        this.showInterrupted(saved);
      }
      await pause(delayMs, signal).catch(() => {});
      if (signal.aborted) return;
    }
  }

  private failFollowing(error: unknown, saved: SavedExport, step: "look" | "follow"): void {
    // By itself, the dialog does not open.
    this.fail(error, saved, step, () => void this.attach(saved, "unknown", this.stage.main.isOpen));
  }

  private showInterrupted(saved: SavedExport): void {
    const seen = () => {
      this.host.savedExport.write({ ...saved, phase: "interrupted" });
      this.stop();
    };
    const close = () => {
      seen();
      this.host.emit("closed", undefined);
    };
    const discard = () => {
      this.host.savedExport.clear();
      this.cancel();
    };
    const { large = [] } = saved;
    const again = () => {
      seen();
      if (large.length > 0) this.host.emit("choose-files", { fileNames: large.map(({ fileName }) => fileName) });
      else void this.load();
    };
    this.stage.change({ render: (texts) => interruptedView(texts, large, { again, discard }), dismiss: close });
    this.stage.setStatus("interrupted");
  }

  private async follow(
    saved: SavedExport,
    progress: ExportProgress,
    show: () => void,
    updates: AsyncIterable<ExportUpdate>,
    signal: AbortSignal,
  ): Promise<void> {
    const { name = "", requestId } = saved;
    const end = new AbortController();
    let isStarted = saved.phase === "accepted" || saved.phase === "seen";
    const changed = () => {
      show();
      const { artifactsDone, artifactsTotal, bytesDone, bytesTotal, bytesInFlight } = progress;
      this.host.emit("progress", { artifactsDone, artifactsTotal, bytesDone, bytesTotal, bytesInFlight });
      if (isStarted || !progress.isAccepted) return;
      isStarted = true;
      this.unloadGuard.isOn = false;
      if (this.host.savedExport.read()?.requestId === requestId) this.host.savedExport.write(accepted(saved, name));
      this.host.emit("started", { name, requestId });
    };
    const both = AbortSignal.any([signal, end.signal]);
    const following = new Following(this.host.client, name, progress, changed, both);
    try {
      const result = await following.result(updates);
      if (!signal.aborted) this.complete(result, accepted(saved, name));
    } finally {
      end.abort();
    }
  }

  private complete(result: ExportResult, saved: SavedExport, isSynced = false): void {
    this.endSending();
    const provisional = isProvisional(result);
    const close = () => {
      saved.phase = "seen";
      this.host.savedExport.write(saved);
      this.stage.main.close();
      if (!provisional) this.stage.setStatus("idle");
      this.host.emit("closed", undefined);
    };
    const newReview = () => {
      this.host.savedExport.clear();
      this.notify = newNotifyChoice();
      this.stop();
      this.host.emit("new-review", { result });
    };
    const render = (texts: Texts) => {
      const isInS3 = result.storedIn === Destination.S3;
      const done: DoneView = new DoneView(
        texts,
        result,
        { isInS3, isSynced },
        {
          downloadDocument: (path) => void downloadArtifact(this.client(), result, path, done, texts),
          downloadBundle: () => void downloadBundle(this.client(), result, done, texts),
          newReview,
          close,
        },
      );
      return done.view;
    };
    this.stage.change({ render, dismiss: close });
    this.stage.setStatus(provisional ? "provisional" : "saved");
    if (isSynced) this.host.emit("synced", { result });
    else this.host.emit("completed", { result });
    if (provisional && this.host.client) void this.waitForSync(result, saved);
  }

  /** Replaces a provisional result once the bundle is in S3. */
  private async waitForSync({ name }: ExportResult, saved: SavedExport): Promise<void> {
    const { signal } = this.current;
    try {
      const result = await whenSynced(this.client(), name, signal);
      if (!signal.aborted) this.complete(result, saved, true);
    } catch {
      // The element was removed, or the user started a new review.
    }
  }

  private fail(error: unknown, saved: SavedExport, step: "start" | "look" | "follow", again: () => void): void {
    const cause = error instanceof ExportFailedError ? error.cause : error;
    const isFailed = error instanceof ExportFailedError;
    const isRefused = step === "start" && cause instanceof TaraExportError && cause.isFromServer;
    const hasNoBundle = isFailed || (isRefused && !isUnreachable(cause));
    // An id whose export failed, or that belongs to other content, cannot be used again.
    const needsNewId = isFailed || (isRefused && cause.reason === "REQUEST_ID_REUSED");
    // The server may still accept the export: the page must stay open, and a reload watches.
    const isOpen = step === "start" && isUnreachable(cause);
    if (!isOpen) this.endSending();
    if (hasNoBundle) this.host.savedExport.clear();
    else if (step === "start" && !isOpen) this.host.savedExport.write({ ...saved, phase: "interrupted" });
    const close = () => {
      this.stop();
      this.host.emit("closed", undefined);
    };
    const chooseAgain = hasNoBundle || (step === "start" && !isOpen) ? () => void this.load() : undefined;
    const retry = needsNewId ? () => this.startNew(saved) : again;
    this.showFailure(cause, hasNoBundle ? "refused" : step, { retry, close, chooseAgain });
    this.stage.setStatus(hasNoBundle ? "failed" : "unknown");
    this.host.emit("failed", { error: cause });
    if (isUnreachable(cause) && step !== "start") onReturn(again, this.current.signal);
  }

  /** The server does not need this page any more. */
  private endSending(): void {
    this.unloadGuard.isOn = false;
    this.tab.release();
  }

  private showFailure(
    error: unknown,
    step: FailedStep,
    on: { retry: () => void; close: () => void; chooseAgain?: (() => void) | undefined },
  ): void {
    const render = (texts: Texts) => failedView(texts, describeFailure(texts, error, step), on);
    this.stage.change({ render, dismiss: on.close });
  }

  /** Shows a running export, and returns the function that shows its changes. */
  private showRunning(progress: ExportProgress, sender: Sender, opens = true): () => void {
    const cancel = () => {
      this.host.savedExport.clear();
      this.cancel();
    };
    return this.stage.showRunning(progress, sender, { cancel, signal: this.current.signal, opens });
  }

  /** Aborts the current step, and returns the signal of the next. */
  private begin(): AbortSignal {
    this.current.abort();
    this.current = new AbortController();
    this.endSending();
    return this.current.signal;
  }

  private backend(): ReviewBackend {
    const { backend } = this.host;
    if (!backend) throw new Error("<complete-review> requires the properties preview and start.");
    return backend;
  }

  private client(): Client {
    const { client } = this.host;
    if (!client) throw new Error("<complete-review> requires the attribute server or the property client.");
    return client;
  }
}
