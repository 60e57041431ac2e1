import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import type { CallOptions, Transport } from "@connectrpc/connect";

import { exportBatch, getBatch, watchBatch } from "./batch.js";
import { type CallSettings, Calls, type ClientOptions, type FollowSettings } from "./calls.js";
import { type ArtifactDownload, type BundleDownload, openArtifact, openBundle } from "./download.js";
import { protocolError, untrusted } from "./error.js";
import type {
  Event,
  Event_State,
  EventType,
  ListTargetsResponse,
  RetryEventsRequestSchema,
  RetryEventsResponse,
  TestTargetResponse,
} from "./gen/tara/export/v1/automation_pb.js";
import type { Batch, WatchBatchResponse } from "./gen/tara/export/v1/batch_pb.js";
import type { Artifact, Export } from "./gen/tara/export/v1/export_pb.js";
import type {
  BatchStartExportsRequestSchema,
  BundleArchive,
  CreateDownloadLinkResponse,
  GetReportRequest_View,
  GetReportResponse,
  PreviewExportRequestSchema,
  PreviewExportResponse,
  StorageCheck,
} from "./gen/tara/export/v1/service_pb.js";
import { checkExport, checkListed, checkListedEvent, linkViolation } from "./names.js";
import { quoted } from "./printable.js";
import type { ExportRequest } from "./request.js";
import { ExportRun } from "./run.js";
import type { Content } from "./source.js";
import { type UploadedDocument, type UploadProgress, uploadContent } from "./upload.js";

/** Settings of a transfer. */
export interface TransferSettings extends CallSettings {
  /** Called with the number of bytes transferred so far. */
  onProgress?: (doneBytes: number) => void;
}

/** Selects the exports to list. */
export interface ListSettings extends CallSettings {
  /** A filter in the syntax of ListExports, such as `state = STATE_FELL_BACK`. */
  filter?: string;
  /** Exports per page. Further pages are fetched on demand. */
  pageSize?: number;
}

/** Selects the events to list. */
export interface ListEventsSettings extends CallSettings {
  /** Only events in this state. Default: pending and dead ones. */
  state?: Event_State;
  /** Only events of this type. */
  type?: EventType;
  /** Only events of this export, exports/{export_id}. */
  export?: string;
  /** Only events of this target. */
  target?: string;
  /** Events per page. Further pages are fetched on demand. */
  pageSize?: number;
}

/** A client of a tara-export server, created by `connect` of `tara-export/node` or `tara-export/web`. */
export class Client {
  protected readonly calls: Calls;

  /** Creates a client over a custom transport. */
  constructor(transport: Transport, options: ClientOptions = {}) {
    this.calls = new Calls(transport, options);
  }

  /**
   * Exports a review and follows the export until it ends. Large documents are uploaded automatically
   * before the request. Nothing is sent until the caller iterates over the run or awaits its result.
   */
  export(request: ExportRequest, settings: FollowSettings = {}): ExportRun {
    return ExportRun.start(this.calls, request, settings);
  }

  /** Follows an export that was started earlier: `name` is exports/{export_id}. */
  watch(name: string, settings: FollowSettings = {}): ExportRun {
    return ExportRun.watch(this.calls, name, settings);
  }

  /**
   * Exports many reviews, at most 500, and follows them until all have ended. Generates the batch id if it is empty.
   * Yields the result of each item once, when it ends, and at last `ended`. Sends the same batch again after a lost
   * connection, and if the server did not accept every item. Exports continue if the caller stops iterating.
   */
  exportBatch(
    request: MessageInitShape<typeof BatchStartExportsRequestSchema>,
    settings: CallSettings = {},
  ): AsyncGenerator<WatchBatchResponse, void, undefined> {
    return exportBatch(this.calls, request, settings);
  }

  /** Follows a batch that was started earlier: `name` is batches/{batch_id}. */
  watchBatch(name: string, settings: CallSettings = {}): AsyncGenerator<WatchBatchResponse, void, undefined> {
    return watchBatch(this.calls, name, settings);
  }

  /** Reads a batch with its items. */
  getBatch(name: string, settings: CallSettings = {}): Promise<Batch> {
    return getBatch(this.calls, name, settings);
  }

  /** Returns the files that an export would write and the options for the user, without writing anything. */
  preview(
    request: MessageInitShape<typeof PreviewExportRequestSchema>,
    settings: CallSettings = {},
  ): Promise<PreviewExportResponse> {
    return this.calls.unary((service, options) => service.previewExport(request, options), settings);
  }

  /** Reads one export with its artifacts. */
  async getExport(name: string, settings: CallSettings = {}): Promise<Export> {
    const response = await this.calls.unary((service, options) => service.getExport({ name }, options), settings);
    if (!response.export) throw protocolError("GetExport response without an export");
    checkExport(response.export, name);
    return response.export;
  }

  /** Lists exports, newest first. Pages are fetched on demand. */
  async *listExports({ filter = "", pageSize = 0, ...settings }: ListSettings = {}): AsyncGenerator<Export> {
    let pageToken = "";
    do {
      const request = { filter, pageSize, pageToken };
      const page = await this.calls.unary((service, options) => service.listExports(request, options), settings);
      for (const exported of page.exports) {
        checkListed(exported);
        yield exported;
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** Reads a bundle's report. */
  getReport(name: string, view: GetReportRequest_View, settings: CallSettings = {}): Promise<GetReportResponse> {
    return this.calls.unary((service, options) => service.getReport({ name, view }, options), settings);
  }

  /** Checks the server's stores. Returns one row per check, with a hint for each failure. */
  async checkStorage(settings: CallSettings = {}): Promise<StorageCheck[]> {
    const response = await this.calls.unary((service, options) => service.checkStorage({}, options), settings);
    return response.checks;
  }

  /** Uploads a document before the request that names it. Resumes an interrupted upload. */
  async upload(content: Content, { onProgress, ...settings }: TransferSettings = {}): Promise<UploadedDocument> {
    const sending: AsyncGenerator<UploadProgress, UploadedDocument> = uploadContent(this.calls, content, settings);
    let step = await sending.next();
    for (; !step.done; step = await sending.next()) onProgress?.(step.value.doneBytes);
    return step.value;
  }

  /** Starts to download one file of a bundle; `path` is relative to the bundle's folder. */
  openArtifact(name: string, path: string, settings: CallSettings = {}): Promise<ArtifactDownload> {
    return openArtifact(this.calls, name, path, settings);
  }

  /** Starts to download a whole bundle as a ZIP file. */
  openBundle(name: string, settings: CallSettings = {}): Promise<BundleDownload> {
    return openBundle(this.calls, name, settings);
  }

  /** Downloads one file of a bundle into memory and verifies it against the manifest's digest. */
  async artifactBlob(
    name: string,
    path: string,
    { onProgress, ...settings }: TransferSettings = {},
  ): Promise<{ artifact: Artifact; blob: Blob }> {
    const download = await this.openArtifact(name, path, settings);
    const blob = await collect(download, download.artifact.mediaType, onProgress);
    return { artifact: download.artifact, blob };
  }

  /** Downloads a whole bundle as a ZIP file into memory. */
  async bundleBlob(
    name: string,
    { onProgress, ...settings }: TransferSettings = {},
  ): Promise<{ archive: BundleArchive; blob: Blob }> {
    const download = await this.openBundle(name, settings);
    const blob = await collect(download, download.archive.mediaType, onProgress);
    return { archive: download.archive, blob };
  }

  /**
   * Creates a link with which anyone can download one file of a bundle in S3 until the link expires. The
   * response contains the actual expiry time.
   */
  async createDownloadLink(
    name: string,
    path: string,
    { timeToLiveMs, ...settings }: CallSettings & { timeToLiveMs?: number } = {},
  ): Promise<CreateDownloadLinkResponse> {
    const request = { name, path, ...(timeToLiveMs !== undefined && { timeToLive: duration(timeToLiveMs) }) };
    const link = await this.calls.unary((service, options) => service.createDownloadLink(request, options), settings);
    const violation = linkViolation(link.uri);
    if (violation) throw untrusted(name, `uri ${quoted(link.uri)} ${violation}`);
    return link;
  }

  /** Lists the server's events, oldest first. Pages are fetched on demand. */
  async *listEvents({ signal, ...conditions }: ListEventsSettings = {}): AsyncGenerator<Event> {
    const settings = signal ? { signal } : {};
    let pageToken = "";
    do {
      const request = { ...conditions, pageToken };
      const list = (_: unknown, options: CallOptions) => this.calls.automation.listEvents(request, options);
      const page = await this.calls.unary(list, settings);
      for (const event of page.events) {
        checkListedEvent(event);
        yield event;
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** Delivers dead letters again, or events of committed exports that were never written. */
  retryEvents(
    request: MessageInitShape<typeof RetryEventsRequestSchema>,
    settings: CallSettings = {},
  ): Promise<RetryEventsResponse> {
    return this.calls.unary((_, options) => this.calls.automation.retryEvents(request, options), settings);
  }

  /** Lists the targets of notifications and their state. */
  listTargets(settings: CallSettings = {}): Promise<ListTargetsResponse> {
    return this.calls.unary((_, options) => this.calls.automation.listTargets({}, options), settings);
  }

  /**
   * Sends a test event to a target, and returns its answer. A target that does not accept the event is not an error, but
   * `delivered` is false. As every unary call, it is repeated while the server is UNAVAILABLE, so the target can receive
   * the event twice.
   */
  testTarget(target: string, settings: CallSettings = {}): Promise<TestTargetResponse> {
    return this.calls.unary((_, options) => this.calls.automation.testTarget({ target }, options), settings);
  }
}

function duration(milliseconds: number): Duration {
  const seconds = Math.trunc(milliseconds / 1000);
  const nanos = Math.round((milliseconds - seconds * 1000) * 1_000_000);
  return create(DurationSchema, { seconds: BigInt(seconds), nanos });
}

async function collect(
  bytes: AsyncIterable<Uint8Array<ArrayBuffer>>,
  type: string,
  onProgress: ((doneBytes: number) => void) | undefined,
): Promise<Blob> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let doneBytes = 0;
  for await (const part of bytes) {
    parts.push(part);
    doneBytes += part.byteLength;
    onProgress?.(doneBytes);
  }
  return new Blob(parts, { type });
}
