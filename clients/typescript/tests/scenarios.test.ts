// Runs clients/scenarios.json over each protocol. clients/README.md defines the format.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, suite, test } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { inspect, promisify } from "node:util";

import {
  connect,
  Destination,
  Document_Kind,
  type DocumentInput,
  Event_State,
  type Export,
  Export_State,
  type ExportRequest,
  fileContent,
  fromJson,
  type JsonValue,
  type NodeClient,
  type NodeOptions,
  ReviewSchema,
  TaraExportError,
} from "tara-export/node";

import { Authority } from "./authority.js";
import { Receiver, writeNotifyFile } from "./notifications.js";
import { type Command, root, World } from "./world.js";

const authority = new Authority();
const receiver = await Receiver.start();
after(async () => {
  authority.remove();
  await receiver.stop();
});

interface DocumentJson {
  kind: `KIND_${keyof typeof Document_Kind}`;
  file_name: string;
  text?: string;
  size_bytes?: number;
}
interface Expectation {
  state?: string;
  stored_in?: string;
  artifact_count?: number;
  document_name?: string;
  reviewer?: string;
  fell_back?: string;
  same_as?: string;
  exports?: string[];
  sha256?: string;
  sha256_of_size_bytes?: number;
  files?: number;
  code?: string;
  reason?: string;
  fields?: string[];
  token_error?: string;
  targets?: string[];
  delivered?: boolean;
  events?: string[];
  event_count?: number;
  missing_event_ids?: string[];
  committed?: number;
  refused?: number;
}
interface RequestJson {
  review: JsonValue;
  documents: DocumentJson[];
}
interface Step {
  world?: Command;
  export?: Partial<RequestJson> & {
    as: string;
    request_id?: string;
    notify_emails?: string[];
    when_accepted?: Command[];
  };
  batch?: { batch_id?: string; items: { request_id?: string; review?: JsonValue }[] };
  get?: { of: string; name?: never } | { name: string; of?: never };
  list?: { filter: string; page_size: number };
  download?: { of: string; path: string };
  bundle?: { of: string };
  targets?: Record<string, never>;
  test_target?: { target: string };
  events?: { state?: `STATE_${keyof typeof Event_State}`; target?: string; page_size: number };
  retry_events?: { all_dead?: boolean; event_ids?: string[] };
  expect?: Expectation;
  until?: Expectation;
}
interface Scenarios {
  request: RequestJson;
  scenarios: { name: string; server?: ServerJson; client?: ClientJson; steps: Step[] }[];
}
interface ServerJson {
  tokens?: { token: string; roles: string[] }[];
  tls?: boolean;
  mutual_tls?: boolean;
  notify?: { targets: unknown[] };
  notify_recipients?: string;
}
interface ClientJson {
  token?: string;
  tokens?: string[];
  token_error?: string;
  ca?: boolean;
  certificate?: boolean;
}

const file: Scenarios = JSON.parse(await readFile(join(root, "clients/scenarios.json"), "utf8"));

for (const protocol of ["grpc", "grpc-web"] as const) {
  suite(`scenarios over ${protocol}`, () => {
    for (const { name, server = {}, client = {}, steps } of file.scenarios) {
      test(name, async () => {
        const folder = await mkdtemp(join(tmpdir(), "tara-export-scenario-"));
        const world = await World.start(await serverSettings(server, folder));
        try {
          const url = protocol === "grpc" ? world.proxyUrl : world.http1Url;
          const isTls = server.tls || server.mutual_tls;
          const connected = connect(isTls ? url.replace("http:", "https:") : url, {
            protocol,
            ...clientOptions(client),
          });
          const runner = new ScenarioRunner(world, connected);
          for (const step of steps) await runner.run(step);
          const shown = [inspect(connected, { depth: 20 }), ...runner.texts].join("\n");
          for (const token of tokensOf(server, client)) assert.ok(!shown.includes(token));
        } finally {
          await world.stop();
          await rm(folder, { recursive: true });
        }
      });
    }
  });
}

/** The error of a token's function. */
class TokenError extends Error {}

/** The environment of a scenario's server. */
async function serverSettings(server: ServerJson, folder: string): Promise<Record<string, string>> {
  const isMutual = server.mutual_tls === true;
  const settings: Record<string, string> = server.tls || isMutual ? authority.serverSettings("server", isMutual) : {};
  if (server.notify) settings.NOTIFY_FILE = await writeNotifyFile(folder, server.notify, receiver.address);
  if (server.notify_recipients) settings.NOTIFY_RECIPIENTS = server.notify_recipients;
  if (!server.tokens) return settings;
  const callers = server.tokens.map(({ token, roles }, index) => {
    return { name: `caller-${index}`, roles, sha256: sha256(new TextEncoder().encode(token)) };
  });
  const path = join(folder, "tokens.json");
  await writeFile(path, JSON.stringify({ tokens: callers }));
  return { ...settings, AUTH_TOKENS_FILE: path };
}

function clientOptions({ token, tokens, token_error, ca, certificate }: ClientJson): NodeOptions {
  const options: NodeOptions = {};
  if (token !== undefined) options.token = token;
  const remaining = [...(tokens ?? [])];
  if (tokens) options.token = async () => (remaining.length > 1 ? remaining.shift() : remaining[0]) ?? "";
  if (token_error !== undefined) {
    options.token = () => {
      throw new TokenError(token_error);
    };
  }
  if (ca) options.tls = { ca: authority.ca, ...(certificate && authority.client) };
  return options;
}

function tokensOf(server: ServerJson, { token, tokens = [] }: ClientJson): string[] {
  return [...(server.tokens ?? []).map(({ token }) => token), ...tokens, ...(token ? [token] : [])];
}

/** Runs the steps of one scenario. */
class ScenarioRunner {
  /** The exports by the name that later steps use. */
  private readonly exports = new Map<string, Export>();
  /** The errors as they are printed. */
  readonly texts: string[] = [];

  constructor(
    private readonly world: World,
    private readonly client: NodeClient,
  ) {}

  async run(step: Step): Promise<void> {
    if (step.world) return this.world.do(step.world);
    if (step.until) return this.until(step, step.until);
    const { code, reason, fields, token_error, ...expected } = step.expect ?? {};
    if (token_error !== undefined) {
      return assert.rejects(this.act(step, expected), (error) => {
        this.texts.push(inspect(error, { depth: 20, showHidden: true }));
        return error instanceof TokenError && error.message === token_error;
      });
    }
    if (code === undefined) return this.act(step, expected);
    await assert.rejects(this.act(step, expected), (error) => {
      assert.ok(error instanceof TaraExportError, String(error));
      this.texts.push(inspect(error, { depth: 20, showHidden: true }));
      assert.deepEqual([error.codeName, error.reason], [code, reason]);
      if (fields)
        assert.deepEqual(
          error.fieldViolations.map(({ field }) => field),
          fields,
        );
      return true;
    });
  }

  private async act(step: Step, expected: Expectation): Promise<void> {
    if (step.export) await this.export(step.export, expected);
    else if (step.batch) await this.batch(step.batch, expected);
    else if (step.get) this.check(await this.client.getExport(step.get.name ?? this.named(step.get.of).name), expected);
    else if (step.list) await this.list(step.list, expected);
    else if (step.download) await this.download(step.download, expected);
    else if (step.bundle) await this.bundle(step.bundle.of, expected);
    else if (step.targets) assert.deepEqual(await this.targets(), expected.targets);
    else if (step.events) assert.deepEqual(await this.events(step.events), expected.events);
    else if (step.test_target) {
      const { delivered } = await this.client.testTarget(step.test_target.target);
      assert.equal(delivered, expected.delivered);
    } else if (step.retry_events) await this.retryEvents(step.retry_events, expected);
    else assert.fail(`no such step: ${JSON.stringify(step)}`);
  }

  private async export(step: NonNullable<Step["export"]>, expected: Expectation): Promise<void> {
    const request: ExportRequest = {
      requestId: step.request_id,
      notifyEmails: step.notify_emails,
      // Keys of items that are not fields are ignored.
      review: fromJson(ReviewSchema, step.review ?? file.request.review, { ignoreUnknownFields: true }),
      documents: await Promise.all((step.documents ?? file.request.documents).map((one) => this.document(one))),
    };
    const run = this.client.export(request);
    const lastByRun = new Map<string, bigint>();
    let fellBack: string | undefined;
    const whenAccepted = [...(step.when_accepted ?? [])];
    for await (const update of run) {
      if (update.type !== "event") continue;
      const { event, runId, sequence } = update.event;
      // Progress and heartbeats repeat a number of their run; the end of a previous run has none.
      const isNumbered = event.case !== "artifactProgress" && event.case !== "heartbeat" && runId !== "";
      if (isNumbered) {
        const last = lastByRun.get(runId) ?? 0n;
        assert.ok(sequence > last, `${event.case} ${sequence} after ${last}`);
        lastByRun.set(runId, sequence);
      }
      if (event.case === "fellBack") fellBack = event.value.reason;
      if (event.case === "accepted") for (const command of whenAccepted.splice(0)) await this.world.do(command);
    }
    const { export: completed } = await run.result();
    if (expected.fell_back) assert.equal(fellBack, expected.fell_back);
    this.check(completed, expected);
    this.exports.set(step.as, completed);
  }

  private async batch({ batch_id, items }: NonNullable<Step["batch"]>, expected: Expectation): Promise<void> {
    const documents = file.request.documents.map(({ kind, file_name: fileName, text = "" }) => ({
      kind: Document_Kind[kind.replace("KIND_", "") as keyof typeof Document_Kind],
      fileName,
      source: { case: "content" as const, value: new TextEncoder().encode(text) },
    }));
    const requests = items.map(({ request_id = "", review }) => ({
      requestId: request_id,
      review: fromJson(ReviewSchema, review ?? file.request.review, { ignoreUnknownFields: true }),
      documents,
    }));
    const indexes = new Set<number>();
    let name = "";
    for await (const { event } of this.client.exportBatch({ batchId: batch_id ?? "", requests })) {
      if (event.case === "item") indexes.add(event.value.index);
      if (event.case === "ended") name = event.value.name;
    }
    assert.equal(indexes.size, items.length);
    const { counts } = await this.client.getBatch(name);
    assert.deepEqual([counts?.committed, counts?.refused], [expected.committed, expected.refused]);
  }

  private async document({
    kind,
    file_name: fileName,
    text,
    size_bytes: sizeBytes,
  }: DocumentJson): Promise<DocumentInput> {
    const described = { kind: Document_Kind[kind.replace("KIND_", "") as keyof typeof Document_Kind], fileName };
    if (sizeBytes === undefined) return { ...described, content: new TextEncoder().encode(text) };
    const path = join(this.world.folder, fileName);
    await writeFile(path, bytesOf(sizeBytes));
    return { ...described, content: await fileContent(path) };
  }

  private async list(step: NonNullable<Step["list"]>, expected: Expectation): Promise<void> {
    const listed: string[] = [];
    for await (const { name } of this.client.listExports({ filter: step.filter, pageSize: step.page_size }))
      listed.push(name);
    assert.deepEqual(
      listed,
      expected.exports?.map((as) => this.named(as).name),
    );
  }

  private async download({ of, path }: NonNullable<Step["download"]>, expected: Expectation): Promise<void> {
    const target = join(this.world.folder, "download");
    await this.client.downloadArtifact(this.named(of).name, path, target);
    const size = expected.sha256_of_size_bytes;
    const wantedSha256 = size === undefined ? expected.sha256 : sha256(bytesOf(size));
    assert.equal(sha256(await readFile(target)), wantedSha256);
  }

  private async bundle(of: string, expected: Expectation): Promise<void> {
    const target = join(this.world.folder, "bundle.zip");
    await this.client.downloadBundle(this.named(of).name, target);
    const { stdout } = await promisify(execFile)("python3", ["-m", "zipfile", "--list", target]);
    // One heading, then one line per file.
    assert.equal(stdout.trim().split("\n").length - 1, expected.files);
  }

  private async targets(): Promise<string[]> {
    const { targets } = await this.client.listTargets();
    return targets.map(({ name }) => name);
  }

  /** The exports of the events, by the names that the steps use. */
  private async events({ state, page_size: pageSize, ...conditions }: NonNullable<Step["events"]>): Promise<string[]> {
    const keys = new Map([...this.exports].map(([as, { name }]) => [name, as]));
    const found: string[] = [];
    const settings = {
      ...conditions,
      pageSize,
      ...(state && { state: Event_State[state.slice("STATE_".length) as keyof typeof Event_State] }),
    };
    for await (const event of this.client.listEvents(settings)) found.push(keys.get(event.export) ?? event.export);
    return found;
  }

  private async retryEvents(step: NonNullable<Step["retry_events"]>, expected: Expectation): Promise<void> {
    const { all_dead: allDead = false, event_ids: eventIds = [] } = step;
    const { eventCount, missingEventIds } = await this.client.retryEvents({ allDead, eventIds });
    assert.deepEqual([Number(eventCount), missingEventIds], [expected.event_count, expected.missing_event_ids]);
  }

  /** Repeats the step until the expectation holds. */
  private async until(step: Step, expected: Expectation): Promise<void> {
    for (let tries = 0; ; tries++) {
      try {
        return await this.act(step, expected);
      } catch (error) {
        if (!(error instanceof assert.AssertionError) || tries > 600) throw error;
        await pause(100);
      }
    }
  }

  private check(actual: Export, expected: Expectation): void {
    const { state, stored_in, artifact_count, document_name, reviewer, same_as } = expected;
    if (state) assert.equal(`STATE_${Export_State[actual.state]}`, state);
    if (stored_in) assert.equal(`DESTINATION_${Destination[actual.storedIn]}`, stored_in);
    if (artifact_count) assert.equal(actual.artifactCount, artifact_count);
    if (document_name) assert.equal(actual.documentName, document_name);
    if (reviewer) assert.equal(actual.reviewer, reviewer);
    if (!same_as) return;
    const other = this.named(same_as);
    assert.deepEqual([actual.name, actual.manifestSha256], [other.name, other.manifestSha256]);
  }

  private named(as: string): Export {
    const found = this.exports.get(as);
    assert.ok(found, `no export is named ${as}`);
    return found;
  }
}

/** Document content, the same in the tests of every client. */
function bytesOf(sizeBytes: number): Uint8Array {
  return Uint8Array.from({ length: sizeBytes }, (_, index) => (index * 31) % 251);
}

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
