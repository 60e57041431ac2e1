import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What becomes of a request: it passes, waits, or is not allowed. */
type Mode = "pass" | "hold" | "deny";

/** Stands before an S3 server and decides which requests get through. */
export class S3Proxy {
  private mode: Mode = "pass";
  private keyPart = "";
  private waiting: (() => void)[] = [];

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  /** Starts on a free port; `target` is the S3 server's URL. */
  static async start(target: string): Promise<S3Proxy> {
    const server = createServer((incoming, outgoing) => void proxy.handle(new URL(target), incoming, outgoing));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const proxy = new S3Proxy(server, `http://127.0.0.1:${port}`);
    return proxy;
  }

  /** Lets writes wait whose key has this part, until `pass`. */
  hold(keyPart: string): void {
    [this.mode, this.keyPart] = ["hold", keyPart];
  }

  /** Answers as S3 does where the credentials were taken away, until `pass`: no try at it helps. */
  deny(): void {
    this.mode = "deny";
    this.release();
  }

  /** Lets everything through, also what waits. */
  pass(): void {
    this.mode = "pass";
    this.release();
  }

  async stop(): Promise<void> {
    this.deny();
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private release(): void {
    for (const go of this.waiting.splice(0)) go();
  }

  private async handle(target: URL, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    if (
      this.mode === "hold" &&
      incoming.method === "PUT" &&
      decodeURIComponent(incoming.url ?? "").includes(this.keyPart)
    ) {
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
    if (this.mode === "deny") {
      incoming.resume();
      outgoing.writeHead(403, { "content-type": "application/xml" });
      outgoing.end("<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>");
      return;
    }
    // The host header is signed and goes on as it is.
    const { method, url: path, headers } = incoming;
    const onward = request({ host: target.hostname, port: target.port, method, path, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on("error", () => incoming.socket.destroy());
    incoming.on("error", () => onward.destroy());
    incoming.pipe(onward);
  }
}
