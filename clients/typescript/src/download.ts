import { Code } from "@connectrpc/connect";

import type { CallSettings, Calls } from "./calls.js";
import { ClientReason, lost, protocolError, TaraExportError } from "./error.js";
import type { Artifact } from "./gen/tara/export/v1/export_pb.js";
import type {
  BundleArchive,
  DownloadArtifactResponse,
  DownloadBundleResponse,
} from "./gen/tara/export/v1/service_pb.js";
import { checkArchive, checkArtifact } from "./names.js";
import { Patience } from "./patience.js";
import { within } from "./policy.js";

/** A file of a bundle on its way here: iterate over its bytes. They end well only once all were checked. */
export interface ArtifactDownload extends AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly artifact: Artifact;
}

/** A bundle's ZIP file on its way here: iterate over its bytes. The server checks each file in it. */
export interface BundleDownload extends AsyncIterable<Uint8Array<ArrayBuffer>> {
  readonly archive: BundleArchive;
}

/** Begins to read one file of a bundle. A stream that is cut is taken up where it was. */
export async function openArtifact(
  calls: Calls,
  name: string,
  path: string,
  settings: CallSettings,
): Promise<ArtifactDownload> {
  const open = async (offset: number) => {
    const stream = new Parts(calls, settings, (options) =>
      calls.service.downloadArtifact({ name, path, offset: BigInt(offset) }, options),
    );
    const first = await stream.next();
    if (first?.case !== "artifact") throw protocolError("a download that doesn't begin with its artifact");
    checkArtifact(first.value, name, path);
    return { artifact: first.value, stream };
  };
  const first = await patiently(new Patience(calls.policy, settings.signal), settings, path, () => open(0));
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
  const patience = new Patience(calls.policy, settings.signal);
  let receivedBytes = 0;
  let attempts = 0;
  let { stream } = first;
  try {
    for (;;) {
      try {
        const part = await stream.next();
        if (!part) break;
        if (part.case !== "data") throw protocolError("a download with something else than bytes");
        receivedBytes += part.value.byteLength;
        if (BigInt(receivedBytes) > artifact.sizeBytes) {
          throw damaged(artifact, `more bytes came than the ${artifact.sizeBytes} that it has`);
        }
        hasher.update(part.value);
        patience.progressed();
        yield part.value as Uint8Array<ArrayBuffer>;
        attempts = 0;
      } catch (failure) {
        const error = unavailable(failure, settings);
        attempts += 1;
        // A store that breaks off at the same place each time will not do better.
        if (attempts >= calls.policy.maxAttempts) throw error;
        await patience.wait(error, artifact.path);
        ({ stream } = await patiently(patience, settings, artifact.path, () => open(receivedBytes)));
      }
    }
  } finally {
    stream.close();
  }
  if (BigInt(receivedBytes) !== artifact.sizeBytes) {
    throw damaged(artifact, `${receivedBytes} bytes came instead of ${artifact.sizeBytes}`);
  }
  const digest = hasher.hex();
  if (digest !== artifact.sha256) throw damaged(artifact, `its SHA-256 is ${digest} instead of ${artifact.sha256}`);
}

/** Begins to read a whole bundle as a ZIP file. A stream that is cut has to be begun again. */
export async function openBundle(calls: Calls, name: string, settings: CallSettings): Promise<BundleDownload> {
  const open = async () => {
    const stream = new Parts(calls, settings, (options) => calls.service.downloadBundle({ name }, options));
    const first = await stream.next();
    if (first?.case !== "archive") throw protocolError("a download that doesn't begin with its archive");
    checkArchive(first.value, name);
    return { archive: first.value, stream };
  };
  const { archive, stream } = await patiently(new Patience(calls.policy, settings.signal), settings, name, open);
  return { archive, [Symbol.asyncIterator]: () => bytesOf(stream) };
}

async function* bytesOf(stream: Parts<DownloadBundleResponse>): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  try {
    for (let part = await stream.next(); part; part = await stream.next()) {
      if (part.case !== "data") throw protocolError("a download with something else than bytes");
      yield part.value as Uint8Array<ArrayBuffer>;
    }
  } finally {
    stream.close();
  }
}

/** Tries again while the server is away, until patience ends. */
async function patiently<T>(
  patience: Patience,
  settings: CallSettings,
  of: string,
  attempt: () => Promise<T>,
): Promise<T> {
  for (;;) {
    try {
      return await attempt();
    } catch (failure) {
      await patience.wait(unavailable(failure, settings), of);
    }
  }
}

/** The failure if trying again may help; otherwise throws it. */
function unavailable(failure: unknown, { signal }: CallSettings): TaraExportError {
  signal?.throwIfAborted();
  const error = TaraExportError.from(failure);
  if (error.code !== Code.Unavailable) throw error;
  return error;
}

type DownloadResponse = DownloadArtifactResponse | DownloadBundleResponse;

/** A stream of parts that is taken for lost when it is silent for too long. */
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
    const silent = () => lost("the server said nothing for too long");
    try {
      const item = await within(this.calls.policy.silenceMs, this.responses.next(), silent);
      return item.done ? undefined : item.value.part;
    } catch (failure) {
      this.close();
      throw TaraExportError.from(failure);
    }
  }

  close(): void {
    this.cancel.abort();
  }
}

function damaged({ path }: Artifact, message: string): TaraExportError {
  const reason = ClientReason.DAMAGED;
  return new TaraExportError(Code.DataLoss, `${path} arrived damaged: ${message}`, { reason, metadata: { path } });
}
