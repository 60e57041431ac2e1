// The client against a hostile server (clients/hostile-server.json): it throws and writes no file.
import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";

import { create, type DescMethod, fromJson, type JsonValue, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, type MethodImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { AutomationService } from "../src/gen/tara/export/v1/automation_pb.js";
import { ExportSchema } from "../src/gen/tara/export/v1/export_pb.js";
import { ExportService } from "../src/gen/tara/export/v1/service_pb.js";
import { UploadSchema } from "../src/gen/tara/export/v1/upload_pb.js";
import {
  checkListed,
  checkUpload,
  folderViolation,
  linkViolation,
  pathViolation,
  segmentViolation,
} from "../src/names.js";
import { connect, fileNameViolation, type NodeClient, printable, TaraExportError } from "../src/node/index.js";
import { root } from "./world.js";

interface HostileCase {
  about: string;
  method: string;
  responses: JsonValue[];
  error_contains: string[];
}

type Named = { name: string; accepted: boolean };

const shared = JSON.parse(readFileSync(join(root, "clients/hostile-server.json"), "utf8")) as {
  export: string;
  path: string;
  document: string;
  names: { name: string; in_bundle: boolean; on_disk: boolean }[];
  folders: Named[];
  paths: { path: string; accepted: boolean }[];
  exports: Named[];
  uploads: Named[];
  links: { uri: string; accepted: boolean }[];
  texts: { text: string; printed: string }[];
  cases: HostileCase[];
};

function isAccepted(check: () => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    assert.ok(error instanceof TaraExportError && error.reason === "UNTRUSTED_RESPONSE");
    return false;
  }
}

test("server names are checked", () => {
  for (const { name, in_bundle, on_disk } of shared.names) {
    assert.equal(segmentViolation(name) === undefined, in_bundle, JSON.stringify(name));
    assert.equal(fileNameViolation(name) === undefined, on_disk, JSON.stringify(name));
  }
  for (const { name, accepted } of shared.folders) assert.equal(folderViolation(name) === undefined, accepted, name);
  for (const { path, accepted } of shared.paths) assert.equal(pathViolation(path) === undefined, accepted, path);
  for (const { uri, accepted } of shared.links) assert.equal(linkViolation(uri) === undefined, accepted, uri);
  for (const { text, printed } of shared.texts) assert.equal(printable(text), printed);
  for (const { name, accepted } of shared.exports) {
    assert.equal(
      isAccepted(() => checkListed(create(ExportSchema, { name }))),
      accepted,
      name,
    );
  }
  for (const { name, accepted } of shared.uploads) {
    assert.equal(
      isAccepted(() => checkUpload(create(UploadSchema, { name }), "", 0)),
      accepted,
      name,
    );
  }
});

/** A client of a fake server whose method responds with these messages, and a function that stops both. */
async function clientOf({ method, responses }: Pick<HostileCase, "method" | "responses">) {
  const methods = [...ExportService.methods, ...AutomationService.methods];
  const described = methods.find(({ name }) => name === method) as DescMethod;
  const messages = responses.map((response) => fromJson(described.output, response));
  const unary = async (): Promise<Message> => messages[0] as Message;
  const stream = async function* () {
    yield* messages;
  };
  const routes = (router: ConnectRouter) => {
    const isStream = described.methodKind === "server_streaming";
    router.rpc(described, (isStream ? stream : unary) as MethodImpl<DescMethod>);
  };
  const server = createServer(connectNodeAdapter({ routes }));
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => sessions.add(session));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const stop = async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  };
  return { client, stop };
}

async function call(client: NodeClient, method: string, file: string): Promise<void> {
  const { export: name, path, document } = shared;
  if (method === "GetExport") await client.getExport(name);
  else if (method === "ListExports") for await (const _ of client.listExports());
  else if (method === "ListEvents") for await (const _ of client.listEvents());
  else if (method === "WatchExport") await client.watch(name).result();
  else if (method === "DownloadArtifact") await client.downloadArtifact(name, path, file);
  else if (method === "DownloadBundle") await client.downloadBundle(name, file);
  else if (method === "CreateDownloadLink") await client.createDownloadLink(name, path);
  else if (method === "CreateUpload") await client.upload(new TextEncoder().encode(document));
  else assert.fail(method);
}

function newFolder(): string {
  return mkdtempSync(join(tmpdir(), "tara-export-hostile-"));
}

for (const hostile of shared.cases) {
  test(`hostile response is rejected: ${hostile.method}, ${hostile.about}`, async () => {
    const folder = newFolder();
    const { client, stop } = await clientOf(hostile);
    try {
      await assert.rejects(call(client, hostile.method, join(folder, "file")), (error) => {
        assert.ok(error instanceof TaraExportError, String(error));
        for (const text of hostile.error_contains)
          assert.ok(error.message.includes(text), `${text} is missing in ${error.message}`);
        assert.equal(printable(error.message), error.message);
        return true;
      });
      assert.deepEqual(readdirSync(folder), []);
    } finally {
      await stop();
      rmSync(folder, { recursive: true });
    }
  });
}

test("printed error contains no control characters of the server", () => {
  const error = TaraExportError.from(new ConnectError("\u001b[2J\u009b31m\u202e", Code.NotFound));
  const printed = inspect(error);
  assert.ok(printed.includes("\\u{1b}[2J\\u{9b}31m\\u{202e}"), printed);
  for (const raw of ["\u001b", "\u009b", "\u202e"]) assert.ok(!printed.includes(raw), JSON.stringify(printed));
});

test("link at the target is replaced, not followed", async () => {
  const folder = newFolder();
  const [outside, target] = [join(folder, "outside"), join(folder, "file")];
  symlinkSync(outside, target);
  const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  const responses = [{ artifact: { path: shared.path, sizeBytes: "3", sha256 } }, { data: "YWJj" }];
  const { client, stop } = await clientOf({ method: "DownloadArtifact", responses });
  try {
    await client.downloadArtifact(shared.export, shared.path, target);
    assert.equal(readFileSync(target, "utf8"), "abc");
    assert.equal(existsSync(outside), false);
  } finally {
    await stop();
    rmSync(folder, { recursive: true });
  }
});
