import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";

/** Stands before a server and cuts connections as a bad network does. */
export class CuttingProxy {
  private readonly connections = new Set<Socket>();
  private bytesUntilCut = Number.POSITIVE_INFINITY;
  /** How many connections were cut. */
  cuts = 0;

  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  /** Starts on a free port; `target` is the server's URL. */
  static async start(target: string): Promise<CuttingProxy> {
    const server = createServer((socket) => proxy.carry(socket, new URL(target)));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    const proxy = new CuttingProxy(server, `http://127.0.0.1:${port}`);
    return proxy;
  }

  /** Cuts all connections. */
  cut(): void {
    this.cuts += this.connections.size;
    for (const socket of this.connections) socket.resetAndDestroy();
    this.connections.clear();
  }

  /** Cuts all connections once so many more bytes went to the server. */
  cutAfter(bytes: number): void {
    this.bytesUntilCut = bytes;
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private carry(socket: Socket, target: URL): void {
    const onward = connect(Number(target.port), target.hostname);
    this.connections.add(socket);
    socket.on("data", (piece) => {
      this.bytesUntilCut -= piece.byteLength;
      if (this.bytesUntilCut > 0) return;
      this.bytesUntilCut = Number.POSITIVE_INFINITY;
      this.cut();
    });
    socket.pipe(onward).pipe(socket);
    const end = () => {
      this.connections.delete(socket);
      socket.destroy();
      onward.destroy();
    };
    for (const side of [socket, onward]) side.on("error", end).on("close", end);
  }
}
