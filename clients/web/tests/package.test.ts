// Packs the package, installs it into an empty folder, and uses it there as the README says.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";

import { root, World } from "../../typescript/tests/world.js";
import { startBrowser } from "./browser.js";

const run = promisify(execFile);
const TOKEN = "31d8f0-of-the-readme";

/** A program of an application in TypeScript. */
const PROGRAM = `
import {
  type CompleteReview, connect, directToService, englishMessages, type Messages, type ReviewStatus, type Token, viaBackEnd,
} from "tara-export-web";
const element: CompleteReview | null = document.querySelector("complete-review");
const token: Token = async () => "abc";
if (element) {
  element.token = token;
  Object.assign(element, viaBackEnd({ preview: "/preview", start: "/start", headers: async () => ({ "x-a": "b" }) }));
  Object.assign(element, directToService(connect("https://export.example.com", { token }), () => ({})));
  element.addEventListener("completed", (event) => console.log(event));
  element.open();
  element.fallback = "none";
  element.messages = { "action.close": englishMessages["action.close"] };
  const messages: Partial<Messages> = element.messages;
  const { phase, share }: ReviewStatus = element.status;
  console.log(messages, phase, share);
  // @ts-expect-error: a number is not a token.
  element.token = 3;
  // @ts-expect-error: there is no such text.
  element.messages = { "action.shut": "Shut" };
}
`;

suite("the packed package", () => {
  let folder: string;
  let packed: string[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "tara-export-web-package-"));
    const pack = async (path: string) => {
      // The tests' build is already there, and other tests use it.
      const options = ["--ignore-scripts", "--json", "--pack-destination", folder];
      const { stdout } = await run("npm", ["pack", ...options], { cwd: path });
      return (JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }])[0];
    };
    const client = await pack(join(root, "clients/typescript"));
    const element = await pack(join(root, "clients/web"));
    packed = element.files.map(({ path }) => path);
    await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
    const { devDependencies } = JSON.parse(await readFile("package.json", "utf8"));
    const files = [client, element].map(({ filename }) => join(folder, filename));
    const install = ["install", "--no-fund", "--no-audit", ...files, `typescript@${devDependencies.typescript}`];
    await run("npm", install, { cwd: folder });
  });
  after(() => rm(folder, { recursive: true, force: true }));

  test("contains the licences and type declarations", async () => {
    const installed = join(folder, "node_modules/tara-export-web");
    assert.equal(await readFile(join(installed, "LICENSE"), "utf8"), await readFile(join(root, "LICENSE"), "utf8"));
    const licences = await readFile(join(installed, "dist/THIRD_PARTY_LICENSES.txt"), "utf8");
    for (const name of ["@bufbuild/protobuf", "@connectrpc/connect", "@noble/hashes"]) {
      assert.ok(licences.includes(`${name} `), name);
    }
    assert.ok(packed.includes("dist/types/index.d.ts"));
    const foreign = packed.filter((path) => !/^dist\/|^(LICENSE|README\.md|package\.json)$/.test(path));
    assert.deepEqual(foreign, []);
    const { name, license, dependencies } = JSON.parse(await readFile(join(installed, "package.json"), "utf8"));
    assert.deepEqual([name, license], ["tara-export-web", "Apache-2.0"]);
    // A path of this repository does not exist in an application.
    for (const version of Object.values(dependencies)) assert.match(String(version), /^\^\d/);
  });

  test("program of an application has strict types", async () => {
    await writeFile(join(folder, "program.ts"), PROGRAM);
    const strict = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2022"];
    const libraries = ["--lib", "es2023,dom,dom.iterable,dom.asynciterable"];
    await run("node_modules/.bin/tsc", [...strict, ...libraries, "program.ts"], { cwd: folder }).catch(({ stdout }) =>
      assert.fail(stdout),
    );
  });

  test("README's page exports a review with a token", async () => {
    const readme = await readFile("README.md", "utf8");
    const [page = "", script = ""] = [...readme.matchAll(/```html\n([\s\S]*?)```/g)].map((found) => found[1] ?? "");
    assert.ok(script.includes("element.token"));
    let serverUrl = "";
    const http = createServer(async ({ url }, response) => {
      const send = (type: string, body: string | Buffer) => response.writeHead(200, { "content-type": type }).end(body);
      if (url === "/token") send("text/plain", TOKEN);
      else if (url === "/complete-review.js") {
        const path = "node_modules/tara-export-web/dist/complete-review.js";
        send("text/javascript", await readFile(join(folder, path)));
      } else if (url === "/")
        send("text/html", `${page}${script}`.replace("https://tara-export.example.com", serverUrl));
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
    const sha256 = createHash("sha256").update(TOKEN).digest("hex");
    const tokens = join(folder, "tokens.json");
    await writeFile(tokens, JSON.stringify({ tokens: [{ name: "app", roles: ["export", "read"], sha256 }] }));
    const world = await World.start({ CORS_ALLOWED_ORIGINS: origin, AUTH_TOKENS_FILE: tokens });
    serverUrl = world.serverUrl;
    const browser = await startBrowser();
    try {
      const opened = await browser.newPage();
      await opened.goto(origin);
      await opened.getByRole("button", { name: "Continue" }).click();
      await opened.getByRole("button", { name: "Save to cloud storage" }).click();
      await opened.getByRole("button", { name: /Download.*bundle/i }).waitFor();
      assert.ok(!(await opened.content()).includes(TOKEN));
    } finally {
      await browser.close();
      await world.stop();
      http.close();
      http.closeAllConnections();
    }
  });
});
