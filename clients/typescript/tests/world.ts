// The test environment: an in-memory S3, the built server, and proxies that can cut connections. The program
// tests/support/src/bin/test-world runs all of it.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";

/** The repository root. Tests run in the folder of their package. */
export const root = join(process.cwd(), "../..");

export const serverProgram = process.env.TARA_EXPORT_BINARY ?? join(root, "target/debug/tara-export");
const worldProgram = process.env.TEST_WORLD_BINARY ?? join(root, "target/debug/test-world");

/** Commands of test-world, as documented in clients/README.md. */
export type Command =
  | "s3 down"
  | "s3 up"
  | "hold"
  | "release"
  | "cut"
  | `cut requests ${number}`
  | `damage ${string}`
  | "restart";

export class World {
  private readonly responses: ((response: string) => void)[] = [];

  private constructor(
    private readonly program: Program,
    /** Direct address of the server. */
    readonly serverUrl: string,
    /** The server behind a proxy that can cut connections. */
    readonly proxyUrl: string,
    /** The same for HTTP/1.1 only. */
    readonly http1Url: string,
    /** A temporary folder that is removed with the world. */
    readonly folder: string,
  ) {
    program.lines.on("line", (line) => this.responses.shift()?.(line));
  }

  /** Starts a world; `settings` are environment variables of the server. */
  static async start(settings: Record<string, string> = {}): Promise<World> {
    const program = await startProgram(worldProgram, ["--server", serverProgram], /^(\{.*\})$/, settings);
    const ready: Record<"server" | "grpc" | "http1" | "folder", string> = JSON.parse(program.readyValue);
    const url = (address: string) => `http://${address}`;
    return new World(program, url(ready.server), url(ready.grpc), url(ready.http1), ready.folder);
  }

  async do(command: Command): Promise<void> {
    const responded = new Promise<string>((resolve) => this.responses.push(resolve));
    this.program.child.stdin?.write(`${command}\n`);
    const response = await responded;
    if (response !== "ok") throw new Error(`${command}: ${response}`);
  }

  /** Ends an S3 outage and blocked uploads. */
  async reset(): Promise<void> {
    await this.do("s3 up");
    await this.do("release");
  }

  /** Closes standard input, so that test-world removes its server and folder. A kill would leave both. */
  async stop(): Promise<void> {
    const { child } = this.program;
    await whenEnded(child, () => child.stdin?.end());
  }
}

/** A running program, and the value from its ready line. */
export interface Program {
  child: ChildProcess;
  lines: Interface;
  readyValue: string;
  stop(): Promise<void>;
}

/** Starts a program and waits for the line that matches `ready`. */
export async function startProgram(
  command: string,
  args: string[],
  ready: RegExp,
  env: Record<string, string> = {},
): Promise<Program> {
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  const lines = createInterface(child.stdout);
  const errors = createInterface(child.stderr);
  const readyValue = await new Promise<string>((resolve, reject) => {
    const output: string[] = [];
    const onLine = (line: string) => {
      output.push(line);
      const match = ready.exec(line)?.[1];
      if (match) resolve(match);
    };
    for (const source of [lines, errors]) source.on("line", onLine);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${command} exited with ${code}:\n${output.join("\n")}`)));
  });
  return { child, lines, readyValue, stop: () => whenEnded(child, () => child.kill()) };
}

/** Ends a program and waits until it has exited. */
async function whenEnded(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  end();
  await ended;
}
