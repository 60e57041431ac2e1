// The targets of a server's notifications.
import { writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

/** An HTTP server that accepts every event. */
export class Receiver {
  private constructor(private readonly server: Server) {}

  static async start(): Promise<Receiver> {
    const server = createServer((request, response) => {
      request.resume().on("end", () => response.writeHead(204).end());
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Receiver(server);
  }

  /** Its `host:port`. */
  get address(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const stopped = new Promise((resolve) => this.server.close(resolve));
    this.server.closeAllConnections();
    await stopped;
  }
}

/** Writes a NOTIFY_FILE, in which RECEIVER stands for the receiver's address, and its secret. Returns its path. */
export async function writeNotifyFile(folder: string, content: unknown, receiver: string): Promise<string> {
  await writeFile(join(folder, "secret"), `whsec_${Buffer.alloc(32, 7).toString("base64")}`);
  const path = join(folder, "notify.json");
  await writeFile(path, JSON.stringify(content).replaceAll("RECEIVER", receiver));
  return path;
}
