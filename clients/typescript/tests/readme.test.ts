// Runs the README's snippet and the example program.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { root, World } from "./world.js";

const run = promisify(execFile);
let world: World;
before(async () => {
  world = await World.start();
});
after(() => world?.stop());

test("README snippet runs", async () => {
  const readme = await readFile("README.md", "utf8");
  const snippet = /<!-- run by .*-->\n```ts\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";
  assert.ok(snippet.includes('connect("http://127.0.0.1:8080")'), "the README contains the snippet");
  const program = snippet.replace("http://127.0.0.1:8080", world.serverUrl).replaceAll("/tmp/", `${world.folder}/`);
  await mkdir("build/readme", { recursive: true });
  await writeFile("build/readme/snippet.mjs", program);
  const { stdout } = await run(process.execPath, [join(process.cwd(), "build/readme/snippet.mjs")], { cwd: root });
  await rm("build/readme", { recursive: true });
  assert.match(stdout, /^accepted/m);
  assert.match(stdout, /^s3:\/\/tara-test\/tara\/.*Incident_report\//m);
  assert.match(stdout, /^Incident report\.docx/m);
  assert.match(await readFile(join(world.folder, "report.txt"), "utf8"), /Incident report\.docx/);
});

for (const protocol of ["grpc", "grpc-web"]) {
  test(`example exports a review over ${protocol}`, async () => {
    const program = join(process.cwd(), "build/examples/export-review.js");
    const args = [program, world.serverUrl, "examples/request.json", "README.md"];
    const env = { ...process.env, TARA_EXPORT_PROTOCOL: protocol };
    const { stdout } = await run(process.execPath, args, { cwd: root, env });
    assert.match(stdout, /^stored manifest\.json \(12 of 12\)$/m);
    assert.match(stdout, /DOCUMENT REVIEW REPORT/);
  });
}
