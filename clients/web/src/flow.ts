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
import type { Memory, Remembered } from "./memory.js";
import { ExportProgress } from "./progress.js";
import { DialogShell, type View } from "./shell.js";
import { chooseView, suggestedDestination } from "./views/choose.js";
import { confirmView } from "./views/confirm.js";
import { DoneView } from "./views/done.js";
import { describeFailure, failedView } from "./views/failed.js";
import { RunningView } from "./views/running.js";

/** What the flow asks of the element that it belongs to. */
export interface Host {
  readonly backend: ReviewBackend | undefined;
  /** The server that exports are followed at and downloaded from. */
  readonly client: Client | undefined;
  readonly memory: Memory;
  readonly documentName: string;
  emit<Type extends keyof EventDetails>(type: Type, detail: EventDetails[Type]): void;
}

/** The way from the choice to the bundle, in two dialogs. */
export class Flow {
  readonly main = new DialogShell("main", () => this.onDismiss());
  readonly confirm = new DialogShell("confirm", () => this.confirm.close());
  /** Where nothing is shown or done yet, or no more. */
  private isIdle = true;
  private current = new AbortController();
  private onDismiss = () => {};

  constructor(private readonly host: Host) {}

  /** Shows where the flow is; begins it where there is none. */
  open(): void {
    const remembered = this.host.memory.read();
    if (!this.isIdle) this.main.open();
    else if (remembered) void this.attach(remembered);
    else void this.load();
  }

  /** Takes up what was going on when the page was loaded anew. */
  resume(): void {
    const remembered = this.host.memory.read();
    if (this.isIdle && remembered && !remembered.isSeen) void this.attach(remembered);
  }

  /** Closes the dialogs and stops following. An export goes on. */
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
      const failure = describeFailure(error, "The review can’t be looked at");
      const close = () => this.cancel();
      this.show(failedView(failure, { again: () => void this.load(), close }), close);
    }
  }

  private choose(preview: PreviewExportResponse): void {
    let chosen = suggestedDestination(preview);
    const cancel = () => this.cancel();
    const change = (destination: DestinationChoice) => {
      chosen = destination;
    };
    const goOn = () => chosen && this.askToConfirm(preview, chosen);
    this.show(chooseView(preview, chosen, { change, goOn, cancel }), cancel);
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
    const remembered: Remembered = { requestId: newUuid(), destination };
    // Before anything is sent, so that a reload finds it.
    this.host.memory.write(remembered);
    void this.start(remembered, preview);
  }

  private async start(remembered: Remembered, preview?: PreviewExportResponse): Promise<void> {
    const signal = this.begin();
    const running = this.showRunning("Saving the audit bundle", preview);
    let title = "The export could not be started";
    try {
      const { requestId, destination } = remembered;
      const started = await this.backend().start({ requestId, destination, signal });
      if (signal.aborted) return;
      const name = typeof started === "string" ? started : `exports/${requestId}`;
      title = CAN_NOT_FOLLOW;
      this.host.memory.write({ ...remembered, name });
      const updates = typeof started === "string" ? this.client().watch(name, { signal }) : started;
      const onAccepted = () => this.host.emit("started", { name, requestId });
      await this.follow(updates, running, { ...remembered, name }, signal, onAccepted);
    } catch (error) {
      if (!signal.aborted) this.fail(error, remembered, title);
    }
  }

  /** Follows an export that was begun before; begins it where the server knows nothing of it. */
  private async attach(remembered: Remembered): Promise<void> {
    const signal = this.begin();
    const running = this.showRunning("Taking up the export again", undefined);
    const name = remembered.name ?? `exports/${remembered.requestId}`;
    try {
      await this.follow(this.client().watch(name, { signal }), running, remembered, signal);
    } catch (error) {
      if (signal.aborted) return;
      const isUnknown = error instanceof TaraExportError && error.reason === "EXPORT_NOT_HERE";
      // Starting again with the same id is always safe.
      if (isUnknown) await this.start(remembered);
      else this.fail(error, remembered, CAN_NOT_FOLLOW);
    }
  }

  private async follow(
    updates: AsyncIterable<ExportUpdate>,
    { view, progress }: { view: RunningView; progress: ExportProgress },
    remembered: Remembered,
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
      if (event.case === "completed" && event.value.export)
        return this.complete(resultOf(event.value.export), remembered);
      if (event.case === "failed") throw new EndedError(failureOf(event.value));
    }
    if (!signal.aborted) throw new Error("The export’s news ended before the export did.");
  }

  private complete(result: ExportResult, remembered: Remembered): void {
    const close = () => {
      this.host.memory.write({ ...remembered, name: result.name, isSeen: true });
      this.main.close();
      this.host.emit("closed", undefined);
    };
    const newReview = () => {
      this.host.memory.forget();
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

  private fail(error: unknown, remembered: Remembered, title: string): void {
    const cause = error instanceof EndedError ? error.cause : error;
    // Answers that may pass don't come here: the client waits for them.
    const isRefused = cause instanceof TaraExportError && cause.isAnswer;
    // An id that ended without a bundle, or is another's, gives nothing else any more.
    const needsNewId = error instanceof EndedError || (isRefused && cause.reason === "REQUEST_ID_REUSED");
    if (isRefused || needsNewId) this.host.memory.forget();
    const again = () => (needsNewId ? this.startNew(remembered.destination) : void this.attach(remembered));
    const close = () => {
      this.stop();
      this.host.emit("closed", undefined);
    };
    const chooseAgain = isRefused || needsNewId ? () => void this.load() : undefined;
    const failure = describeFailure(cause, isRefused || needsNewId ? "No bundle was made" : title);
    this.change(failedView(failure, { again, close, chooseAgain }), close);
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

  /** Ends what was going on, and says when the next is over. */
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

  /** Changes what is shown, and leaves a dialog closed that a person closed. */
  private change(view: View, onDismiss: () => void): void {
    this.onDismiss = onDismiss;
    this.main.fill(view, this.host.documentName);
  }

  private backend(): ReviewBackend {
    const { backend } = this.host;
    if (!backend) throw new Error("<complete-review> needs its functions preview and start.");
    return backend;
  }

  private client(): Client {
    const { client } = this.host;
    if (!client) throw new Error("<complete-review> needs its attribute server, or its property client.");
    return client;
  }
}

const CAN_NOT_FOLLOW = "The export can’t be followed";

/** An export that ended without a bundle. */
class EndedError extends Error {
  constructor(override readonly cause: TaraExportError) {
    super(cause.message);
  }
}

async function readPreview(preview: PreviewFunction): Promise<PreviewExportResponse> {
  const answer = await preview();
  if (isMessage(answer, PreviewExportResponseSchema)) return answer;
  return fromJson(PreviewExportResponseSchema, answer, { ignoreUnknownFields: true });
}

function loadingView(cancel: () => void): View {
  return {
    title: "Looking at the review",
    body: [h("p", { class: "loading" }, icon("busy"), "One moment: the server says what would be exported.")],
    footer: [button("Cancel", "secondary", cancel)],
  };
}
