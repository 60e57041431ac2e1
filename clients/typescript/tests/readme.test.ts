// Packs the package, installs it into an empty folder, and runs the README's snippets there as they are printed. Also
// runs the example program.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";

import { root, World } from "./world.js";

const run = promisify(execFile);
const readme = await readFile("README.md", "utf8");
/** All snippets; those marked with this file's name are also run. */
const snippets = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map((found) => found[1] ?? "");
const [exportSnippet = "", tokenSnippet = ""] = [...readme.matchAll(/<!-- run by .*-->\n```ts\n([\s\S]*?)```/g)].map(
  (found) => found[1] ?? "",
);

suite("the packed package", () => {
  let folder: string;
  let packed: string[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "tara-export-package-"));
    // The test's build is already there, and other tests use it.
    const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", folder]);
    const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
    packed = files.map(({ path }) => path);
    await writeFile(join(folder, "package.json"), '{ "private": true }\n');
    const { devDependencies } = JSON.parse(await readFile("package.json", "utf8"));
    const types = ["typescript", "@types/node"].map((name) => `${name}@${devDependencies[name]}`);
    await run("npm", ["install", "--no-fund", "--no-audit", join(folder, filename), ...types], { cwd: folder });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("contains the licence, types, and the sources of its source maps", async () => {
    const installed = join(folder, "node_modules/tara-export");
    assert.equal(await readFile(join(installed, "LICENSE"), "utf8"), await readFile(join(root, "LICENSE"), "utf8"));
    for (const entry of ["index", "node/index", "web/index"]) {
      for (const path of [`dist/${entry}.js`, `dist/${entry}.d.ts`, `src/${entry}.ts`])
        assert.ok(packed.includes(path));
    }
    const foreign = packed.filter((path) => !/^(dist|src)\/|^(LICENSE|README\.md|package\.json)$/.test(path));
    assert.deepEqual(foreign, []);
    const { name, version, license } = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    assert.deepEqual([name, version, license], ["tara-export", "0.1.0", "Apache-2.0"]);
  });

  test("snippets have strict types", async () => {
    for (const [index, snippet] of snippets.entries()) await writeFile(join(folder, `snippet${index}.mts`), snippet);
    const files = snippets.map((_, index) => `snippet${index}.mts`);
    const strict = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022", "--types", "node"];
    // The libraries' own declarations are checked too.
    await run("node_modules/.bin/tsc", [...strict, "--lib", "es2023,dom,dom.iterable,dom.asynciterable", ...files], {
      cwd: folder,
    }).catch(({ stdout }) => assert.fail(stdout));
  });

  test("entries are ESM modules", async () => {
    const program = `
      for (const entry of ["tara-export", "tara-export/node", "tara-export/web", "tara-export/package.json"]) {
        const options = entry.endsWith(".json") ? { with: { type: "json" } } : undefined;
        const module = await import(entry, options);
        console.log(entry, Object.keys(module).length > 0);
      }`;
    await writeFile(join(folder, "entries.mjs"), program);
    const { stdout } = await run(process.execPath, ["entries.mjs"], { cwd: folder });
    assert.equal(stdout.match(/ true$/gm)?.length, 4, stdout);
  });

  test("snippet runs as it is printed", async () => {
    assert.ok(exportSnippet.includes('connect("http://127.0.0.1:8080")'), "the README contains the snippet");
    const world = await World.start();
    try {
      // Only the port differs.
      await writeFile(join(folder, "export.mjs"), exportSnippet.replace("http://127.0.0.1:8080", world.serverUrl));
      const { stdout } = await run(process.execPath, ["export.mjs"], { cwd: folder });
      assert.match(stdout, /^accepted/m);
      assert.match(stdout, /^s3:\/\/tara-test\/tara\/.*Incident_report\//m);
      assert.match(stdout, /^Incident report\.docx/m);
      assert.match(await readFile(join(folder, "report.txt"), "utf8"), /Incident report\.docx/);
      assert.ok((await readdir(folder)).includes("bundle.zip"));
    } finally {
      await world.stop();
    }
  });

  test("snippet with a token runs as it is printed", async () => {
    const sha256 = createHash("sha256").update("of-the-readme").digest("hex");
    const tokens = join(folder, "tokens.json");
    await writeFile(tokens, JSON.stringify({ tokens: [{ name: "app", roles: ["read"], sha256 }] }));
    await writeFile(join(folder, "token.txt"), "of-the-readme\n");
    const world = await World.start({ AUTH_TOKENS_FILE: tokens });
    try {
      await writeFile(join(folder, "list.mjs"), tokenSnippet.replace("http://127.0.0.1:8080", world.serverUrl));
      const { stdout } = await run(process.execPath, ["list.mjs"], { cwd: folder });
      assert.equal(stdout, "");
      await writeFile(join(folder, "token.txt"), "another");
      await assert.rejects(run(process.execPath, ["list.mjs"], { cwd: folder }), /CREDENTIALS_INVALID/);
    } finally {
      await world.stop();
    }
  });
});

suite("the example", () => {
  let world: World;
  before(async () => {
    world = await World.start();
  });
  after(() => world?.stop());

  for (const protocol of ["grpc", "grpc-web"]) {
    test(`exports a review over ${protocol}`, async () => {
      const program = join(process.cwd(), "build/examples/export-review.js");
      const args = [program, world.serverUrl, "examples/request.json", "README.md"];
      const env = { ...process.env, TARA_EXPORT_PROTOCOL: protocol };
      const { stdout } = await run(process.execPath, args, { cwd: root, env });
      assert.match(stdout, /^stored manifest\.json \(12 of 12\)$/m);
      assert.match(stdout, /DOCUMENT REVIEW REPORT/);
    });
  }
});
