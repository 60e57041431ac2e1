import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { fileContent } from "../src/node/index.js";

const MIB = 1024 * 1024;
let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "tara-export-files-"));
});
after(() => rm(folder, { recursive: true }));

test("only plain files are documents", async () => {
  const file = (name: string) => join(folder, name);
  await writeFile(file("file"), "content");
  await symlink(file("file"), file("link"));
  await symlink(file("gone"), file("dangling"));
  execFileSync("mkfifo", [file("pipe")]);
  const server = createServer().listen(file("socket"));
  await once(server, "listening");
  const refused = {
    [folder]: /it is a folder/,
    [file("pipe")]: /it is a pipe/,
    [file("socket")]: /it is a socket/,
    "/dev/null": /it is a device/,
    [file("dangling")]: /no such file.*dangling/,
  };
  for (const [path, message] of Object.entries(refused)) await assert.rejects(fileContent(path), { message });
  server.close();
  const content = await fileContent(file("link"));
  assert.equal(new TextDecoder().decode(await content.read(0, content.sizeBytes)), "content");
});

test("bytes are counted and not taken from the reported size", async () => {
  const content = await fileContent("/proc/cpuinfo");
  assert.match(new TextDecoder().decode(await content.read(0, content.sizeBytes)), /processor/);
});

test("a file that changes its size is an error", async () => {
  const path = join(folder, "large");
  for (const change of [-1, 1]) {
    await writeFile(path, new Uint8Array(2 * MIB));
    const content = await fileContent(path);
    assert.equal((await content.read(0, MIB)).byteLength, MIB);
    await truncate(path, 2 * MIB + change);
    await assert.rejects(content.read(MIB, 2 * MIB), /changed from 2097152 to/);
  }
});
