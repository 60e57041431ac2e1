import { Code } from "@connectrpc/connect";

import type { CallSettings, Calls } from "./calls.js";
import { ClientReason, connectionLost, protocolError, TaraExportError } from "./error.js";
import type { Artifact } from "./gen/tara/export/v1/export_pb.js";
import type {
  BundleArchive,
  DownloadArtifactResponse,
  DownloadBundleResponse,
} from "./gen/tara/export/v1/service_pb.js";
import { checkArchive, checkArtifact } from "./names.js";
import { withTimeout } from "./policy.js";
import { RetryTimer } from "./retry-timer.js";

/** A download of one file. Iterate over its bytes; the iteration completes only if size and digest match. */
export interface ArtifactDownload extends AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly artifact: Artifact;
}

/** A download of a bundle as a ZIP file. Iterate over its bytes; the server verifies each file in it. */
export interface BundleDownload extends AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly archive: BundleArchive;
}

/** Starts to download one file of a bundle. An interrupted stream is resumed at the next byte. */
export async function openArtifact(
  calls: Calls,
  name: string,
  path: string,
  settings: CallSettings,
): Promise<ArtifactDownload> {
  const open = async (offset: number) => {
    const stream = new Parts(calls, settings, (options) =>
      calls.stream((service, more) => service.downloadArtifact({ name, path, offset: BigInt(offset) }, more), options),
    );
    const first = await stream.next();
    if (first?.case !== "artifact") throw protocolError("download does not start with its artifact");
    checkArtifact(first.value, name, path);
    return { artifact: first.value, stream };
  };
  const first = await withRetries(calls, new RetryTimer(calls.policy, settings.signal), settings, path, () => open(0));
  const { artifact } = first;
  return { artifact, [Symbol.asyncIterator]: () => checkedBytes(calls, settings, artifact, first, open) };
}

interface OpenArtifact {
  artifact: Artifact;
  stream: Parts<DownloadArtifactResponse>;
}

async function* checkedBytes(
  calls: Calls,
  settings: CallSettings,
  artifact: Artifact,
  first: OpenArtifact,
  open: (offset: number) => Promise<OpenArtifact>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const hasher = calls.sha256();
  const retryTimer = new RetryTimer(calls.policy, settings.signal);
  let receivedBytes = 0;
  let attempts = 0;
  let { stream } = first;
  try {
    for (;;) {
      try {
        const part = await stream.next();
        if (!part) break;
        if (part.case !== "data") throw protocolError("download contains a part without data");
        receivedBytes += part.value.byteLength;
        if (BigInt(receivedBytes) > artifact.sizeBytes) {
          throw damaged(artifact, `received more than its ${artifact.sizeBytes} bytes`);
        }
        hasher.update(part.value);
        retryTimer.recordProgress();
        yield part.value as Uint8Array<ArrayBuffer>;
        attempts = 0;
      } catch (failure) {
        const error = await unavailable(calls, failure, settings);
        attempts += 1;
        // Stop if the store fails at the same offset each time.
        if (attempts >= calls.policy.maxAttempts) throw error;
        await retryTimer.wait(error, artifact.path);
        ({ stream } = await withRetries(calls, retryTimer, settings, artifact.path, () => open(receivedBytes)));
      }
    }
  } finally {
    stream.close();
  }
  if (BigInt(receivedBytes) !== artifact.sizeBytes) {
    throw damaged(artifact, `received ${receivedBytes} bytes instead of ${artifact.sizeBytes}`);
  }
  const digest = hasher.hex();
  if (digest !== artifact.sha256) throw damaged(artifact, `SHA-256 is ${digest} instead of ${artifact.sha256}`);
}

/** Starts to download a whole bundle as a ZIP file. An interrupted download cannot be resumed. */
export async function openBundle(calls: Calls, name: string, settings: CallSettings): Promise<BundleDownload> {
  const open = async () => {
    const stream = new Parts(calls, settings, (options) =>
      calls.stream((service, more) => service.downloadBundle({ name }, more), options),
    );
    const first = await stream.next();
    if (first?.case !== "archive") throw protocolError("download does not start with its archive");
    checkArchive(first.value, name);
    return { archive: first.value, stream };
  };
  const { archive, stream } = await withRetries(
    calls,
    new RetryTimer(calls.policy, settings.signal),
    settings,
    name,
    open,
  );
  return { archive, [Symbol.asyncIterator]: () => bytesOf(stream) };
}

async function* bytesOf(stream: Parts<DownloadBundleResponse>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    for (let part = await stream.next(); part; part = await stream.next()) {
      if (part.case !== "data") throw protocolError("download contains a part without data");
      yield part.value as Uint8Array<ArrayBuffer>;
    }
  } finally {
    stream.close();
  }
}

/** Retries while the server is unavailable, until the progress timeout. */
async function withRetries<T>(
  calls: Calls,
  retryTimer: RetryTimer,
  settings: CallSettings,
  subject: string,
  attempt: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (failure) {
      await retryTimer.wait(await unavailable(calls, failure, settings), subject);
    }
  }
}

/** Returns the failure if a retry may help, otherwise throws it. */
async function unavailable(calls: Calls, failure: unknown, { signal }: CallSettings): Promise<TaraExportError> {
  signal?.throwIfAborted();
  const error = await calls.failure(failure);
  if (error.code !== Code.Unavailable) throw error;
  return error;
}

type DownloadResponse = DownloadArtifactResponse | DownloadBundleResponse;

/** A stream of parts with an idle timeout. */
class Parts<Response extends DownloadResponse> {
  private readonly cancel = new AbortController();
  private readonly responses: AsyncIterator<Response>;

  constructor(
    private readonly calls: Calls,
    { signal }: CallSettings,
    call: (options: { signal: AbortSignal; timeoutMs: number }) => AsyncIterable<Response>,
  ) {
    const either = signal ? AbortSignal.any([this.cancel.signal, signal]) : this.cancel.signal;
    this.responses = call({ signal: either, timeoutMs: 0 })[Symbol.asyncIterator]();
  }

  async next(): Promise<Response["part"] | undefined> {
    const expired = () => connectionLost("no message from the server within the idle timeout");
    try {
      const item = await withTimeout(this.calls.policy.idleTimeoutMs, this.responses.next(), expired);
      return item.done ? undefined : item.value.part;
    } catch (failure) {
      this.close();
      throw await this.calls.failure(failure);
    }
  }

  close(): void {
    this.cancel.abort();
  }
}

function damaged({ path }: Artifact, message: string): TaraExportError {
  const reason = ClientReason.DAMAGED;
  return new TaraExportError(Code.DataLoss, `${path} is damaged: ${message}`, { reason, metadata: { path } });
}
