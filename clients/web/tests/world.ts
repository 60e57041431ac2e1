// Everything that the dialog needs around it, each a real program on a port of its own: S3 in memory,
// a proxy before it that can hold requests or refuse them, the server, and the demo page.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { S3Proxy } from "./s3_proxy.js";

const root = new URL("../../../../", import.meta.url).pathname;
const programs = process.env.TARA_EXPORT_PROGRAMS ?? join(root, "target/debug");

export interface World {
  pageUrl: string;
  serverUrl: string;
  s3: S3Proxy;
  /** Ends the server as a crash would. */
  stop(): Promise<void>;
}

/** Starts a world; `settings` are the server's, as environment variables. */
export async function startWorld(settings: Record<string, string> = {}): Promise<World> {
  const children: ChildProcess[] = [];
  const start = async (command: string, args: string[], ready: RegExp, env: Record<string, string> = {}) => {
    const [child, found] = await startProgram(command, args, ready, env);
    children.push(child);
    return found;
  };
  const folder = await mkdtemp(join(tmpdir(), "complete-review-"));
  const s3 = await S3Proxy.start(await start(join(programs, "test-s3-server"), ["--port", "0"], /at (http:\S+),/));
  const pagePort = await freePort();
  const pageUrl = `http://127.0.0.1:${pagePort}`;
  const address = await start(join(programs, "tara-export"), ["serve", "--port", "0"], /"address":"([^"]+)"/, {
    AWS_ENDPOINT_URL: s3.url,
    AWS_ACCESS_KEY_ID: "test-access-key",
    AWS_SECRET_ACCESS_KEY: "test-secret-key",
    AWS_REGION: "us-east-1",
    S3_BUCKET_NAME: "tara-test",
    S3_PATH_STYLE: "true",
    DATA_DIR: join(folder, "exports"),
    CORS_ALLOWED_ORIGINS: pageUrl,
    LOG_FORMAT: "json",
    ...settings,
  });
  const serverUrl = `http://${address}`;
  const serve = join(root, "clients/web/demo/serve.mjs");
  await start(process.execPath, [serve, "--port", String(pagePort), "--server", serverUrl], /demo is at (\S+)/);
  const stop = async () => {
    for (const child of children.reverse()) await end(child);
    await s3.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { pageUrl, serverUrl, s3, stop };
}

/** Starts a program and waits until it says the line that it is ready with. */
function startProgram(
  command: string,
  args: string[],
  ready: RegExp,
  env: Record<string, string>,
): Promise<[ChildProcess, string]> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  return new Promise((resolve, reject) => {
    const said: string[] = [];
    const listen = (line: string) => {
      said.push(line);
      const found = ready.exec(line)?.[1];
      if (found) resolve([child, found]);
    };
    createInterface(child.stdout).on("line", listen);
    createInterface(child.stderr).on("line", listen);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code}:\n${said.join("\n")}`)));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await ended;
}

/** The server must know the page's origin before the page can know the server's. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
