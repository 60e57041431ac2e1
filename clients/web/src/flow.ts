import {
  type Client,
  type ExportResult,
  type ExportUpdate,
  failureOf,
  fromJson,
  isMessage,
  newUuid,
  type PreviewExportResponse,
  PreviewExportResponseSchema,
  resultOf,
  TaraExportError,
} from "tara-export/web";

import type { DestinationChoice, PreviewFunction, ReviewBackend } from "./backend.js";
import { button, h, icon } from "./dom.js";
import { downloadArtifact, downloadBundle } from "./download.js";
import type { EventDetails } from "./events.js";
import { ExportProgress } from "./progress.js";
import type { SavedExport, SavedExportStore } from "./saved-export.js";
import { DialogShell, type View } from "./shell.js";
import { chooseView, suggestedDestination } from "./views/choose.js";
import { confirmView } from "./views/confirm.js";
import { DoneView } from "./views/done.js";
import { describeFailure, failedView } from "./views/failed.js";
import { RunningView } from "./views/running.js";

/** The interface of the element to its flow. */
export interface Host {
  readonly backend: ReviewBackend | undefined;
  /** The client for following exports and downloading bundles. */
  readonly client: Client | undefined;
  readonly savedExport: SavedExportStore;
  readonly documentName: string;
  emit<Type extends keyof EventDetails>(type: Type, detail: EventDetails[Type]): void;
}

/** The steps from the choice to the bundle, in two dialogs. */
export class Flow {
  readonly main = new DialogShell("main", () => this.onDismiss());
  readonly confirm = new DialogShell("confirm", () => this.confirm.close());
  /** Whether no step is shown or in progress. */
  private isIdle = true;
  private current = new AbortController();
  private onDismiss = () => {};

  constructor(private readonly host: Host) {}

  /** Shows the current step, or starts the flow. */
  open(): void {
    const saved = this.host.savedExport.read();
    if (!this.isIdle) this.main.open();
    else if (saved) void this.attach(saved);
    else void this.load();
  }

  /** Resumes the export that was in progress before the page was reloaded. */
  resume(): void {
    const saved = this.host.savedExport.read();
    if (this.isIdle && saved && !saved.isSeen) void this.attach(saved);
  }

  /** Closes the dialogs and stops following. The export continues. */
  stop(): void {
    this.current.abort();
    this.confirm.close();
    this.main.close();
    this.isIdle = true;
  }

  private async load(): Promise<void> {
    const signal = this.begin();
    this.show(
      loadingView(() => this.cancel()),
      () => this.cancel(),
    );
    try {
      const preview = await readPreview(this.backend().preview);
      if (!signal.aborted) this.choose(preview);
    } catch (error) {
      if (signal.aborted) return;
      const failure = describeFailure(error, "The preview could not be loaded");
      const close = () => this.cancel();
      this.show(failedView(failure, { retry: () => void this.load(), close }), close);
    }
  }

  private choose(preview: PreviewExportResponse): void {
    let chosen = suggestedDestination(preview);
    const cancel = () => this.cancel();
    const change = (destination: DestinationChoice) => {
      chosen = destination;
    };
    const onContinue = () => chosen && this.askToConfirm(preview, chosen);
    this.show(chooseView(preview, chosen, { change, onContinue, cancel }), cancel);
  }

  private askToConfirm(preview: PreviewExportResponse, destination: DestinationChoice): void {
    const back = () => this.confirm.close();
    const confirm = () => {
      this.confirm.close();
      this.startNew(destination, preview);
    };
    this.confirm.show(confirmView(preview, destination, { confirm, back }), this.host.documentName);
  }

  private cancel(): void {
    this.stop();
    this.host.emit("cancelled", undefined);
  }

  private startNew(destination: DestinationChoice, preview?: PreviewExportResponse): void {
    const saved: SavedExport = { requestId: newUuid(), destination };
    // Save first, so that the export can be resumed after a reload.
    this.host.savedExport.write(saved);
    void this.start(saved, preview);
  }

  private async start(saved: SavedExport, preview?: PreviewExportResponse): Promise<void> {
    const signal = this.begin();
    const running = this.showRunning("Saving the audit bundle", preview);
    let title = "The export could not be started";
    try {
      const { requestId, destination } = saved;
      const started = await this.backend().start({ requestId, destination, signal });
      if (signal.aborted) return;
      const name = typeof started === "string" ? started : `exports/${requestId}`;
      title = CANNOT_FOLLOW;
      this.host.savedExport.write({ ...saved, name });
      const updates = typeof started === "string" ? this.client().watch(name, { signal }) : started;
      const onAccepted = () => this.host.emit("started", { name, requestId });
      await this.follow(updates, running, { ...saved, name }, signal, onAccepted);
    } catch (error) {
      if (!signal.aborted) this.fail(error, saved, title);
    }
  }

  /** Follows an export that was started earlier, or starts it if the server does not know it. */
  private async attach(saved: SavedExport): Promise<void> {
    const signal = this.begin();
    const running = this.showRunning("Reconnecting to the export", undefined);
    const name = saved.name ?? `exports/${saved.requestId}`;
    try {
      await this.follow(this.client().watch(name, { signal }), running, saved, signal);
    } catch (error) {
      if (signal.aborted) return;
      const isUnknown = error instanceof TaraExportError && error.reason === "EXPORT_NOT_HERE";
      // Starting again with the same id is safe.
      if (isUnknown) await this.start(saved);
      else this.fail(error, saved, CANNOT_FOLLOW);
    }
  }

  private async follow(
    updates: AsyncIterable<ExportUpdate>,
    { view, progress }: { view: RunningView; progress: ExportProgress },
    saved: SavedExport,
    signal: AbortSignal,
    onAccepted = () => {},
  ): Promise<void> {
    let isAccepted = false;
    for await (const update of updates) {
      if (signal.aborted) return;
      progress.apply(update);
      view.update(progress);
      const { artifactsDone, artifactsTotal, bytesDone, bytesTotal } = progress;
      this.host.emit("progress", { artifactsDone, artifactsTotal, bytesDone, bytesTotal });
      if (update.type !== "event") continue;
      const { event } = update.event;
      if (!isAccepted && (event.case === "accepted" || event.case === "completed")) {
        isAccepted = true;
        onAccepted();
      }
      if (event.case === "completed" && event.value.export) return this.complete(resultOf(event.value.export), saved);
      if (event.case === "failed") throw new ExportFailedError(failureOf(event.value));
    }
    if (!signal.aborted) throw new Error("The connection was closed before the export finished.");
  }

  private complete(result: ExportResult, saved: SavedExport): void {
    const close = () => {
      this.host.savedExport.write({ ...saved, name: result.name, isSeen: true });
      this.main.close();
      this.host.emit("closed", undefined);
    };
    const newReview = () => {
      this.host.savedExport.clear();
      this.stop();
      this.host.emit("new-review", { result });
    };
    const done: DoneView = new DoneView(result, {
      downloadDocument: (path) => void downloadArtifact(this.client(), result, path, done),
      downloadBundle: () => void downloadBundle(this.client(), result, done),
      newReview,
      close,
    });
    this.change(done.view, close);
    this.host.emit("completed", { result });
  }

  private fail(error: unknown, saved: SavedExport, title: string): void {
    const cause = error instanceof ExportFailedError ? error.cause : error;
    // The client retries transient errors, so they do not occur here.
    const isRejected = cause instanceof TaraExportError && cause.isFromServer;
    // An id whose export failed, or that belongs to other content, cannot be used again.
    const needsNewId = error instanceof ExportFailedError || (isRejected && cause.reason === "REQUEST_ID_REUSED");
    if (isRejected || needsNewId) this.host.savedExport.clear();
    const retry = () => (needsNewId ? this.startNew(saved.destination) : void this.attach(saved));
    const close = () => {
      this.stop();
      this.host.emit("closed", undefined);
    };
    const chooseAgain = isRejected || needsNewId ? () => void this.load() : undefined;
    const failure = describeFailure(cause, isRejected || needsNewId ? "No bundle was created" : title);
    this.change(failedView(failure, { retry, close, chooseAgain }), close);
    this.host.emit("failed", { error: cause });
  }

  private showRunning(title: string, preview: PreviewExportResponse | undefined) {
    const hide = () => {
      this.main.close();
      this.host.emit("closed", undefined);
    };
    const progress = new ExportProgress(preview);
    const view = new RunningView(title, hide, (text) => this.main.announce(text));
    this.show(view.view, hide);
    view.update(progress);
    return { view, progress };
  }

  /** Aborts the current step, and returns the signal of the next. */
  private begin(): AbortSignal {
    this.current.abort();
    this.current = new AbortController();
    this.isIdle = false;
    return this.current.signal;
  }

  private show(view: View, onDismiss: () => void): void {
    this.change(view, onDismiss);
    this.main.open();
  }

  /** Changes the content without opening a closed dialog. */
  private change(view: View, onDismiss: () => void): void {
    this.onDismiss = onDismiss;
    this.main.fill(view, this.host.documentName);
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

const CANNOT_FOLLOW = "The status of the export is unknown";

/** The failure of an export, as reported by the server. */
class ExportFailedError extends Error {
  constructor(override readonly cause: TaraExportError) {
    super(cause.message);
  }
}

async function readPreview(preview: PreviewFunction): Promise<PreviewExportResponse> {
  const response = await preview();
  if (isMessage(response, PreviewExportResponseSchema)) return response;
  return fromJson(PreviewExportResponseSchema, response, { ignoreUnknownFields: true });
}

function loadingView(cancel: () => void): View {
  return {
    title: "Loading the preview",
    body: [h("p", { class: "loading" }, icon("busy"), "Checking which files will be exported…")],
    footer: [button("Cancel", "secondary", cancel)],
  };
}
