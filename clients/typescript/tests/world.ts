// What the tests run against: S3 in memory, the built server, and networks before it that can be cut. One
// program has all of it, tests/support/src/bin/test-world.
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";

/** The repository; tests run in their package's folder. */
export const root = join(process.cwd(), "../..");

/** The built programs. */
export const serverProgram = process.env.TARA_EXPORT_BINARY ?? join(root, "target/debug/tara-export");
const worldProgram = process.env.TEST_WORLD_BINARY ?? join(root, "target/debug/test-world");

/** What a test can do to its world. */
export type Command =
  /** S3 refuses everything, for good, until it is up again. */
  | "s3 down"
  | "s3 up"
  /** What is put below feedback/ waits until it is released. */
  | "hold"
  | "release"
  /** All connections over the networks are cut: at once, or once so many bytes more went to the server. */
  | "cut"
  | `cut requests ${number}`
  /** The stored files of this path in their bundle get other bytes. */
  | `damage ${string}`
  /** The server is killed, and started anew. */
  | "restart";

export class World {
  private readonly answers: ((answer: string) => void)[] = [];

  private constructor(
    private readonly program: Program,
    /** The server itself. */
    readonly serverUrl: string,
    /** The server behind a network that can be cut. */
    readonly networkUrl: string,
    /** The same where nothing but HTTP/1.1 gets through. */
    readonly http1Url: string,
    /** A folder that goes with the world. */
    readonly folder: string,
  ) {
    program.lines.on("line", (line) => this.answers.shift()?.(line));
  }

  /** Starts a world; `settings` are the server's, as environment variables. */
  static async start(settings: Record<string, string> = {}): Promise<World> {
    const program = await startProgram(worldProgram, ["--server", serverProgram], /^(\{.*\})$/, settings);
    const ready: Record<"server" | "grpc" | "http1" | "folder", string> = JSON.parse(program.found);
    const url = (address: string) => `http://${address}`;
    return new World(program, url(ready.server), url(ready.grpc), url(ready.http1), ready.folder);
  }

  async do(command: Command): Promise<void> {
    const answered = new Promise<string>((resolve) => this.answers.push(resolve));
    this.program.child.stdin?.write(`${command}\n`);
    const answer = await answered;
    if (answer !== "ok") throw new Error(`${command}: ${answer}`);
  }

  /** Everything as at the start. */
  async heal(): Promise<void> {
    await this.do("s3 up");
    await this.do("release");
  }

  /** With its commands the world ends, its server and its folder too; killed, it would leave both. */
  async stop(): Promise<void> {
    const { child } = this.program;
    await whenEnded(child, () => child.stdin?.end());
  }
}

/** A program that runs, and what it said when it was ready. */
export interface Program {
  child: ChildProcess;
  lines: Interface;
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
  const child = spawn(command, args, { env: { ...process.env, ...env } });
  const lines = createInterface(child.stdout);
  const errors = createInterface(child.stderr);
  const found = await new Promise<string>((resolve, reject) => {
    const said: string[] = [];
    const listen = (line: string) => {
      said.push(line);
      const match = ready.exec(line)?.[1];
      if (match) resolve(match);
    };
    for (const source of [lines, errors]) source.on("line", listen);
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`${command} ended with ${code}:\n${said.join("\n")}`)));
  });
  return { child, lines, found, stop: () => whenEnded(child, () => child.kill()) };
}

/** Does what ends a program, and waits for it. */
async function whenEnded(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  end();
  await ended;
}
