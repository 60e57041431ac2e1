// Everything that a client's test needs around it, each a real program on a port of its own: S3 in memory,
// a proxy before it that holds or denies requests, the server, and a proxy before that which cuts connections.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { CuttingProxy } from "./cutting_proxy.js";
import { S3Proxy } from "./s3_proxy.js";

/** The repository; tests run in their package's folder. */
export const root = join(process.cwd(), "../..");

/** Where the built tara-export and test-s3-server are. */
const programs = process.env.TARA_EXPORT_PROGRAMS ?? join(root, "target/debug");

export interface World {
  /** The server itself. */
  serverUrl: string;
  /** The server behind a network that can be cut. */
  network: CuttingProxy;
  s3: S3Proxy;
  /** A folder that goes with the world. */
  folder: string;
  stop(): Promise<void>;
}

/** Starts a world; `settings` are the server's, as environment variables. */
export async function startWorld(settings: Record<string, string> = {}): Promise<World> {
  const folder = await mkdtemp(join(tmpdir(), "tara-export-client-"));
  const store = await startProgram(join(programs, "test-s3-server"), ["--port", "0"], /at (http:\S+),/);
  const s3 = await S3Proxy.start(store.found);
  // What is held back is no outage, nor is a busy machine; and S3 is tried again as soon as it is back.
  const patient = { S3_RETRY_BUDGET: "2m", S3_READ_TIMEOUT: "2m", ACCEPT_TIMEOUT: "1m", S3_OUTAGE_PAUSE: "0s" };
  const server = await startProgram(join(programs, "tara-export"), ["serve", "--port", "0"], /"address":"([^"]+)"/, {
    AWS_ENDPOINT_URL: s3.url,
    AWS_ACCESS_KEY_ID: "test-access-key",
    AWS_SECRET_ACCESS_KEY: "test-secret-key",
    AWS_REGION: "us-east-1",
    S3_BUCKET_NAME: "tara-test",
    S3_PATH_STYLE: "true",
    DATA_DIR: join(folder, "exports"),
    LOG_FORMAT: "json",
    ...patient,
    ...settings,
  });
  const serverUrl = `http://${server.found}`;
  const network = await CuttingProxy.start(serverUrl);
  const stop = async () => {
    await network.stop();
    await server.stop();
    await s3.stop();
    await store.stop();
    await rm(folder, { recursive: true, force: true });
  };
  return { serverUrl, network, s3, folder, stop };
}

/** A program that runs, and what it said when it was ready. */
export interface Program {
  found: string;
  stop(): Promise<void>;
}

/** Starts a program and waits until it says the line that it is ready with. */
export async function startProgram(
  command: string,
  args: string[],
  ready: RegExp,
  env: Record<string, string> = {},
): Promise<Program> {
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const found = await new Promise<string>((resolve, reject) => {
    const said: string[] = [];
    const listen = (line: string) => {
      said.push(line);
      const match = ready.exec(line)?.[1];
      if (match) resolve(match);
    };
    createInterface(child.stdout).on("line", listen);
    createInterface(child.stderr).on("line", listen);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code}:\n${said.join("\n")}`)));
  });
  return { found, stop: () => end(child) };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill();
  await ended;
}
