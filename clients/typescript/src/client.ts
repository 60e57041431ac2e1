import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, DurationSchema } from "@bufbuild/protobuf/wkt";
import type { Transport } from "@connectrpc/connect";

import { type CallSettings, Calls, type ClientOptions } from "./calls.js";
import { type ArtifactDownload, type BundleDownload, openArtifact, openBundle } from "./download.js";
import { protocolError, untrusted } from "./error.js";
import type { Artifact, Export } from "./gen/tara/export/v1/export_pb.js";
import type {
  BundleArchive,
  CreateDownloadLinkResponse,
  GetReportRequest_View,
  GetReportResponse,
  PreviewExportRequestSchema,
  PreviewExportResponse,
  StorageCheck,
} from "./gen/tara/export/v1/service_pb.js";
import { checkExport, checkListed, linkViolation } from "./names.js";
import { quoted } from "./printable.js";
import type { ExportRequest } from "./request.js";
import { ExportRun } from "./run.js";
import type { Content } from "./source.js";
import { type UploadedDocument, type UploadProgress, uploadContent } from "./upload.js";

/** A call's settings, and who is told how far a transfer is. */
export interface TransferSettings extends CallSettings {
  /** Told how many bytes are there. */
  onProgress?: (doneBytes: number) => void;
}

/** Which exports to list. */
export interface ListSettings extends CallSettings {
  /** Conditions as ListExports takes them, such as `state = STATE_FELL_BACK`. */
  filter?: string;
  /** Exports a page; more are fetched as they are asked for. */
  pageSize?: number;
}

/** A tara-export server. Make one with `connect` of `tara-export/node` or `tara-export/web`. */
export class Client {
  protected readonly calls: Calls;

  /** A client over a transport of the caller's making. */
  constructor(transport: Transport, options: ClientOptions = {}) {
    this.calls = new Calls(transport, options);
  }

  /**
   * Exports a review and follows it to its end. Large documents go ahead of the request by themselves.
   * Nothing is sent before the run is iterated over or its result is waited for.
   */
  export(request: ExportRequest, settings: CallSettings = {}): ExportRun {
    return ExportRun.start(this.calls, request, settings);
  }

  /** Follows an export that was started before: `name` is exports/{export_id}. */
  watch(name: string, settings: CallSettings = {}): ExportRun {
    return ExportRun.watch(this.calls, name, settings);
  }

  /** Says what an export would write and what a person can choose, and writes nothing. */
  preview(
    request: MessageInitShape<typeof PreviewExportRequestSchema>,
    settings: CallSettings = {},
  ): Promise<PreviewExportResponse> {
    return this.calls.unary((service, options) => service.previewExport(request, options), settings);
  }

  /** Reads one export with its artifacts. */
  async getExport(name: string, settings: CallSettings = {}): Promise<Export> {
    const answer = await this.calls.unary((service, options) => service.getExport({ name }, options), settings);
    if (!answer.export) throw protocolError("an answer to GetExport without an export");
    checkExport(answer.export, name);
    return answer.export;
  }

  /** Lists exports, newest first, page by page as they are asked for. */
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

  /** Checks the server's stores: a row for each check, with a hint where one failed. */
  async checkStorage(settings: CallSettings = {}): Promise<StorageCheck[]> {
    const answer = await this.calls.unary((service, options) => service.checkStorage({}, options), settings);
    return answer.checks;
  }

  /** Sends a document ahead of the request that names it, and takes up an upload that was cut. */
  async upload(content: Content, { onProgress, ...settings }: TransferSettings = {}): Promise<UploadedDocument> {
    const sending: AsyncGenerator<UploadProgress, UploadedDocument> = uploadContent(this.calls, content, settings);
    let step = await sending.next();
    for (; !step.done; step = await sending.next()) onProgress?.(step.value.doneBytes);
    return step.value;
  }

  /** Begins to read one file of a bundle; `path` is the path within the bundle's folder. */
  openArtifact(name: string, path: string, settings: CallSettings = {}): Promise<ArtifactDownload> {
    return openArtifact(this.calls, name, path, settings);
  }

  /** Begins to read a whole bundle as a ZIP file. */
  openBundle(name: string, settings: CallSettings = {}): Promise<BundleDownload> {
    return openBundle(this.calls, name, settings);
  }

  /** One file of a bundle, held against the manifest's digest. It is in memory as a whole. */
  async artifactBlob(
    name: string,
    path: string,
    { onProgress, ...settings }: TransferSettings = {},
  ): Promise<{ artifact: Artifact; blob: Blob }> {
    const download = await this.openArtifact(name, path, settings);
    const blob = await collect(download, download.artifact.mediaType, onProgress);
    return { artifact: download.artifact, blob };
  }

  /** A whole bundle as a ZIP file. It is in memory as a whole. */
  async bundleBlob(
    name: string,
    { onProgress, ...settings }: TransferSettings = {},
  ): Promise<{ archive: BundleArchive; blob: Blob }> {
    const download = await this.openBundle(name, settings);
    const blob = await collect(download, download.archive.mediaType, onProgress);
    return { archive: download.archive, blob };
  }

  /**
   * Makes a link by which anybody can download one file of a bundle in S3, for a time. The answer tells
   * when it really dies.
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
