// nginx in front of a server. The gate installs Debian's package (.ci/tools).
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";

/** nginx with default settings, except for the folders of its files. */
export class Nginx {
  private constructor(
    private readonly child: ChildProcess,
    readonly webUrl: string,
    readonly grpcUrl: string,
    private readonly log: string,
  ) {}

  static async start(folder: string, server: string): Promise<Nginx> {
    const own = join(folder, "nginx");
    mkdirSync(own);
    const [web, grpc] = [await freePort(), await freePort()];
    const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (name) => `${name}_temp_path ${own}/${name};`,
    );
    const configuration = `daemon off; pid ${own}/pid; error_log ${own}/error.log; events { }
      http { access_log off; ${paths.join(" ")}
        server { listen 127.0.0.1:${web}; location / { proxy_pass http://${server}; } }
        server { listen 127.0.0.1:${grpc} http2; location / { grpc_pass grpc://${server}; } } }`;
    writeFileSync(join(own, "nginx.conf"), configuration);
    const child = spawn("nginx", ["-c", join(own, "nginx.conf"), "-p", own], { stdio: "ignore" });
    const failed = new Promise<never>((_, reject) => {
      child.once("error", reject);
      child.once("exit", (code) => reject(new Error(`nginx exited with ${code}`)));
    });
    failed.catch(() => {});
    await Promise.race([failed, Promise.all([listening(web), listening(grpc)])]);
    return new Nginx(child, `http://127.0.0.1:${web}`, `http://127.0.0.1:${grpc}`, join(own, "error.log"));
  }

  /** How many requests were larger than the limit. */
  refused(): number {
    return readFileSync(this.log, "utf8").split("client intended to send too large").length - 1;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.kill();
    await ended;
  }
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

async function listening(port: number): Promise<void> {
  for (;;) {
    const isListening = await new Promise<boolean>((resolve) => {
      const socket = connect(port, "127.0.0.1", () => resolve(true));
      socket.once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (isListening) return;
  }
}
