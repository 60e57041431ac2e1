import { Code } from "@connectrpc/connect";

import type { Calls, FollowSettings } from "./calls.js";
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

/** An update about an export. */
export type ExportUpdate =
  /** Progress of a large document that is uploaded before the request. */
  | ({ type: "upload" } & DocumentProgress)
  /** An event from the server. The last event of an export is `completed` or `failed`. */
  | { type: "event"; event: ExportEvent };

/** A complete bundle. */
export interface ExportResult {
  /** exports/{export_id}. */
  name: string;
  /** s3://bucket/base/folder/, or a path on the server's disk. */
  location: string;
  folderName: string;
  /** The store that contains the bundle now. */
  storedIn: Destination;
  /** Whether the bundle fell back to the server's disk because S3 failed. The server syncs it to S3 later. */
  fellBack: boolean;
  artifactCount: number;
  sizeBytes: number;
  /** SHA-256 of manifest.json. Keep it to prove later that the bundle is unchanged. */
  manifestSha256: string;
  /** The complete message of the server, with the artifacts. */
  export: Export;
}

/**
 * An export that is being followed. Iterate over its updates, await its result, or both. It reconnects after
 * lost connections and server restarts, and yields no event of a run twice. If you leave the loop, the export
 * continues; iterating again reconnects to it.
 */
export class ExportRun implements AsyncIterable<ExportUpdate> {
  private follower: Follower | undefined;
  private terminalEvent: ExportEvent | undefined;
  private finalCode: Code | undefined;

  private constructor(
    private readonly calls: Calls,
    /** exports/{export_id}. */
    readonly name: string,
    private readonly request: (ExportRequest & { requestId: string }) | undefined,
    private readonly settings: FollowSettings,
  ) {}

  /** @internal */
  static start(calls: Calls, request: ExportRequest, settings: FollowSettings): ExportRun {
    const requestId = request.requestId || newUuid();
    return new ExportRun(calls, `exports/${requestId}`, { ...request, requestId }, settings);
  }

  /** @internal */
  static watch(calls: Calls, name: string, settings: FollowSettings): ExportRun {
    return new ExportRun(calls, name, undefined, settings);
  }

  async *[Symbol.asyncIterator](): AsyncIterator<ExportUpdate, void, undefined> {
    if (!this.follower) {
      const request = this.request && (yield* prepared(this.calls, this.request, this.settings));
      this.follower = new Follower(this.calls, this.name, request, this.settings);
    }
    try {
      while (!this.terminalEvent) {
        const event = await this.follower.next();
        if (isTerminal(event)) {
          this.terminalEvent = event;
          if (event.event.case === "failed") this.finalCode = await this.follower.finalCode();
        }
        yield { type: "event", event };
      }
    } finally {
      this.follower.close();
    }
  }

  /**
   * Waits until the export ends and returns the bundle, even if it fell back to the server's disk.
   *
   * Throws a {@link TaraExportError} if there is no bundle.
   */
  async result(): Promise<ExportResult> {
    for await (const _ of this);
    const terminal = this.terminalEvent?.event;
    if (terminal?.case === "completed" && terminal.value.export) return resultOf(terminal.value.export);
    if (terminal?.case === "failed") throw failureOf(terminal.value, this.finalCode);
    throw new TaraExportError(Code.Internal, "the export ended without a result");
  }
}

function prepared(
  calls: Calls,
  request: ExportRequest & { requestId: string },
  settings: FollowSettings,
): AsyncGenerator<ExportUpdate, StartExportRequest> {
  return mapYielded(prepare(calls, request, settings), (progress) => ({ type: "upload" as const, ...progress }));
}

/** Converts a completed export to a result. */
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

/** Converts a failed export to an error. `code` is the code of the status that ended its stream. */
export function failureOf(failed: Failed, code?: Code): TaraExportError {
  const metadata: Record<string, string> = failed.storedUnder ? { stored_under: failed.storedUnder } : {};
  return new TaraExportError(code ?? Code.Aborted, failed.message, {
    reason: failed.reason,
    metadata,
    isFromServer: true,
  });
}
