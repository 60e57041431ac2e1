import { Code } from "@connectrpc/connect";

import type { CallSettings, Calls } from "./calls.js";
import { TaraExportError } from "./error.js";
import { Follower } from "./follow.js";
import {
  type Destination,
  type Export,
  Export_State,
  type ExportEvent,
  type Failed,
} from "./gen/tara/export/v1/export_pb.js";
import type { StartExportRequest } from "./gen/tara/export/v1/service_pb.js";
import { mapYielded } from "./generators.js";
import { newUuid } from "./ids.js";
import { type DocumentProgress, type ExportRequest, prepare } from "./request.js";
import { isTerminal } from "./seen.js";

/** News of an export. */
export type ExportUpdate =
  /** A large document goes ahead of the request. */
  | ({ type: "upload" } & DocumentProgress)
  /** The server says something; the last event of an export is `completed` or `failed`. */
  | { type: "event"; event: ExportEvent };

/** A bundle that is whole. */
export interface ExportResult {
  /** exports/{export_id}. */
  name: string;
  /** s3://bucket/base/folder/, or a path on the server's disk. */
  location: string;
  folderName: string;
  /** Where the bundle is now. */
  storedIn: Destination;
  /** Whether S3 was asked for and could not take it: it is on the server's disk, and goes to S3 by itself. */
  fellBack: boolean;
  artifactCount: number;
  sizeBytes: number;
  /** SHA-256 of manifest.json: who keeps it can prove the bundle later. */
  manifestSha256: string;
  /** Everything the server says, with the artifacts. */
  export: Export;
}

/**
 * An export that is followed: iterate over its updates, or wait for its result, or both. It survives
 * lost connections and restarted servers; no event of one run comes twice. Leaving the loop leaves the
 * export alone: it goes on, and iterating again attaches again.
 */
export class ExportRun implements AsyncIterable<ExportUpdate> {
  private follower: Follower | undefined;
  private ending: ExportEvent | undefined;
  private endingCode: Code | undefined;

  private constructor(
    private readonly calls: Calls,
    /** exports/{export_id}. */
    readonly name: string,
    private readonly request: (ExportRequest & { requestId: string }) | undefined,
    private readonly settings: CallSettings,
  ) {}

  /** @internal */
  static start(calls: Calls, request: ExportRequest, settings: CallSettings): ExportRun {
    const requestId = request.requestId || newUuid();
    return new ExportRun(calls, `exports/${requestId}`, { ...request, requestId }, settings);
  }

  /** @internal */
  static watch(calls: Calls, name: string, settings: CallSettings): ExportRun {
    return new ExportRun(calls, name, undefined, settings);
  }

  async *[Symbol.asyncIterator](): AsyncIterator<ExportUpdate, void, undefined> {
    if (!this.follower) {
      const request = this.request && (yield* prepared(this.calls, this.request, this.settings));
      this.follower = new Follower(this.calls, this.name, request, this.settings.signal);
    }
    try {
      while (!this.ending) {
        const event = await this.follower.next();
        if (isTerminal(event)) {
          this.ending = event;
          if (event.event.case === "failed") this.endingCode = await this.follower.endingCode();
        }
        yield { type: "event", event };
      }
    } finally {
      this.follower.close();
    }
  }

  /**
   * Waits for the end and returns the bundle, also one that fell back to the server's disk.
   *
   * Throws a {@link TaraExportError} where there is none.
   */
  async result(): Promise<ExportResult> {
    for await (const _ of this);
    const ending = this.ending?.event;
    if (ending?.case === "completed" && ending.value.export) return resultOf(ending.value.export);
    if (ending?.case === "failed") throw failureOf(ending.value, this.endingCode);
    throw new TaraExportError(Code.Internal, "the export ended without saying how");
  }
}

function prepared(
  calls: Calls,
  request: ExportRequest & { requestId: string },
  settings: CallSettings,
): AsyncGenerator<ExportUpdate, StartExportRequest> {
  return mapYielded(prepare(calls, request, settings), (progress) => ({ type: "upload" as const, ...progress }));
}

/** An export that completed, as a result. */
export function resultOf(completed: Export): ExportResult {
  const { name, location, folderName, storedIn, artifactCount, manifestSha256 } = completed;
  const fellBack = completed.state === Export_State.FELL_BACK;
  const sizeBytes = Number(completed.sizeBytes);
  return {
    name,
    location,
    folderName,
    storedIn,
    fellBack,
    artifactCount,
    sizeBytes,
    manifestSha256,
    export: completed,
  };
}

/** An export that failed, as an error; `code` is that of the status that ended its stream. */
export function failureOf(failed: Failed, code?: Code): TaraExportError {
  const metadata: Record<string, string> = failed.keptAs ? { kept_as: failed.keptAs } : {};
  return new TaraExportError(code ?? Code.Aborted, failed.message, { reason: failed.reason, metadata, isAnswer: true });
}
