// Tokens and addresses: which are valid, where tokens are sent, and that they are not shown.
import assert from "node:assert/strict";
import dns from "node:dns";
import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectSocket, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { inspect } from "node:util";

import {
  type Client,
  connect,
  Document_Kind,
  type NodeClient,
  type NodeOptions,
  TaraExportError,
} from "tara-export/node";
import { connect as connectInBrowser } from "tara-export/web";

import { parseAddress } from "../src/address.js";
import { Authority } from "./authority.js";
import { type HttpServer, startHttpServer } from "./http-server.js";
import { World } from "./world.js";

const SECRET = "8d7f-secret-of-the-test";
const NAME = "exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e";
const OK = { status: 200, is_grpc: true, body_base64: "AAAAAAA=", trailers: { "grpc-status": "0" } };
const REFUSED = { status: 200, is_grpc: true, trailers: { "grpc-status": "16", "grpc-message": "expired" } };

async function list(client: Client): Promise<number> {
  let count = 0;
  for await (const _ of client.listExports()) count++;
  return count;
}

function shown(error: unknown): string {
  return `${error} ${inspect(error, { depth: 20, showHidden: true })} ${(error as Error).stack}`;
}

for (const protocol of ["grpc", "grpc-web"] as const) {
  suite(`tokens over ${protocol}`, () => {
    const withServer = async (row: typeof OK | typeof REFUSED, use: (server: HttpServer) => Promise<void>) => {
      const server = await startHttpServer(row, protocol);
      try {
        await use(server);
      } finally {
        await server.stop();
      }
    };
    const sent = ({ requests }: HttpServer) => requests.map(({ authorization }) => authorization);

    test("language of each call is sent if it can be a header", async () => {
      await withServer(OK, async (server) => {
        const languages = ["de-CH, fr;q=0.8", "de\r\nx-evil: 1", "日本語", "a".repeat(129), "", undefined, "ja"];
        const client = connect(server.url, { protocol, token: SECRET, language: () => languages.shift() });
        for (let call = languages.length; call > 0; call--) await list(client);
        const none = undefined;
        assert.deepEqual(
          server.requests.map((headers) => headers["accept-language"]),
          ["de-CH, fr;q=0.8", none, none, none, none, none, "ja"],
        );
        assert.deepEqual(new Set(sent(server)), new Set([`Bearer ${SECRET}`]));
      });
    });

    test("invalid token is an error that does not contain it", async () => {
      const invalid = [
        `${SECRET} `,
        `${SECRET}\n`,
        `a ${SECRET}`,
        `${SECRET}ü`,
        SECRET.repeat(1000),
        "",
        `${SECRET}\0`,
      ];
      for (const token of invalid) {
        assert.throws(
          () => connect("127.0.0.1:1", { protocol, token }),
          (error) => error instanceof TypeError && !shown(error).includes(SECRET),
        );
        await assert.rejects(
          list(connect("127.0.0.1:1", { protocol, token: () => token })),
          (error) => error instanceof TypeError && !shown(error).includes(SECRET),
        );
      }
      const number = (() => 3) as unknown as () => string;
      await assert.rejects(list(connect("127.0.0.1:1", { protocol, token: number })), /a token must be a string/);
    });

    test("client does not show its token", () => {
      for (const token of [SECRET, () => SECRET, async () => SECRET]) {
        const client = connect("127.0.0.1:1", { protocol, token });
        assert.ok(!inspect(client, { depth: 20 }).includes(SECRET));
        assert.ok(!JSON.stringify(client, (_, value) => (value === client ? { ...client } : value)).includes(SECRET));
      }
    });

    test("function is called for each call", async () => {
      await withServer(OK, async (server) => {
        const tokens = ["one", "two", "three"];
        const client = connect(server.url, { protocol, token: async () => tokens.shift() ?? "" });
        for (let call = 0; call < 3; call++) assert.equal(await list(client), 0);
        assert.deepEqual(sent(server), ["Bearer one", "Bearer two", "Bearer three"]);
      });
    });

    test("token is refreshed once, and only if it is another one", async () => {
      const calls: ((client: NodeClient) => Promise<unknown>)[] = [list, (client) => client.watch(NAME).result()];
      for (const call of calls) {
        for (const [tokens, expected] of [
          [
            ["old", "new"],
            ["old", "new"],
          ],
          [["old", "old"], ["old"]],
          [
            ["a", "b", "c"],
            ["a", "b"],
          ],
        ] as const) {
          await withServer(REFUSED, async (server) => {
            const remaining = [...tokens];
            const client = connect(server.url, { protocol, token: () => remaining.shift() ?? "none" });
            await assert.rejects(call(client), { codeName: "UNAUTHENTICATED" });
            assert.deepEqual(
              sent(server),
              expected.map((token) => `Bearer ${token}`),
            );
          });
        }
        await withServer(REFUSED, async (server) => {
          await assert.rejects(call(connect(server.url, { protocol, token: "old" })), { codeName: "UNAUTHENTICATED" });
          assert.deepEqual(sent(server), ["Bearer old"]);
        });
      }
    });

    test("error of the function is reported unchanged and not retried", async () => {
      const lost = new TaraExportError(14, "the identity provider does not respond");
      const reset = Object.assign(new Error("reset"), { code: "ECONNRESET" });
      for (const failure of [new Error("the vault is sealed"), lost, reset]) {
        let calls = 0;
        const token = () => {
          calls++;
          throw failure;
        };
        const client = connect("127.0.0.1:1", { protocol, token });
        const tries = [
          () => client.watch(NAME).result(),
          () => list(client),
          () => client.bundleBlob(NAME),
          () => client.upload(new Uint8Array(3)),
        ];
        for (const [index, attempt] of tries.entries()) {
          await assert.rejects(attempt(), (error) => error === failure);
          assert.equal(calls, index + 1);
        }
      }
    });

    test("function that does not return is reported", async (context) => {
      context.mock.timers.enable({ apis: ["setTimeout"] });
      const client = connect("127.0.0.1:1", { protocol, token: () => new Promise<string>(() => {}) });
      const failing = assert.rejects(client.watch(NAME).result(), /token's function did not return within 30 s/);
      // The client reads the token a few microtasks later.
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
      context.mock.timers.tick(30_000);
      await failing;
    });

    test("token is not sent without TLS to another machine", () => {
      const remote = ["http://192.0.2.7:8080", "192.0.2.7", "http://localhost.example.com", "http://[2001:db8::7]:80"];
      remote.push("dns:///export.example.com:80", "http://127.0.0.1.example.com", "http://128.0.0.1");
      for (const server of remote) {
        for (const open of [connect, connectInBrowser]) {
          assert.throws(
            () => open(server, { token: SECRET }),
            (error) => error instanceof TypeError && /https:/.test(error.message) && !shown(error).includes(SECRET),
          );
          open(server, { token: SECRET, allowInsecureToken: true });
          open(server);
        }
      }
      const local = ["http://localhost:1", "http://a.LOCALHOST.:1", "127.8.9.10:1", "http://[::1]:1", "unix:/nowhere"];
      for (const server of [...local, "https://export.example.com", "dns:///localhost:1"])
        connect(server, { token: SECRET });
    });
  });
}

suite("addresses", () => {
  let world: World;
  const authority = new Authority();
  const folder = mkdtempSync(join(tmpdir(), "tara-export-address-"));
  before(async () => {
    world = await World.start();
  });
  after(async () => {
    await world?.stop();
    authority.remove();
    rmSync(folder, { recursive: true });
  });
  const port = () => new URL(world.serverUrl).port;

  /** Forwards connections on a Unix socket or another address to the server. */
  async function forwarder(serverPort: string, ...listen: [string] | [number, string]): Promise<Server> {
    const server = createServer((socket: Socket) => {
      const inner = connectSocket(Number(serverPort), "127.0.0.1");
      socket.pipe(inner).pipe(socket);
      for (const end of [socket, inner]) {
        end.on("error", () => {});
        end.on("close", () => [socket, inner].map((one) => one.destroy()));
      }
    });
    await new Promise<void>((resolve) => {
      if (typeof listen[0] === "string") server.listen(listen[0], resolve);
      else server.listen(listen[0], listen[1], resolve);
    });
    return server;
  }

  for (const protocol of ["grpc", "grpc-web"] as const) {
    test(`server is reached over ${protocol}`, async () => {
      const forms = ["127.0.0.1:PORT", "http://127.0.0.1:PORT", "http://127.0.0.1:PORT/", "dns:///127.0.0.1:PORT"];
      for (const form of [...forms, "localhost:PORT", "dns:localhost:PORT", "HTTP://127.0.0.1:PORT"]) {
        await list(connect(form.replace("PORT", port()), { protocol }));
      }
    });

    test(`Unix socket is reached over ${protocol}`, async () => {
      const path = join(folder, protocol);
      const server = await forwarder(port(), path);
      try {
        const documents = [{ kind: Document_Kind.BEFORE, fileName: "a.txt", content: new Uint8Array(3) }];
        for (const form of [`unix:${path}`, `unix://${path}`]) {
          const client = connect(form, { protocol, token: "for-this-machine" });
          await list(client);
          const run = client.export({ review: { documentName: "a.docx" }, documents });
          assert.match((await run.result()).name, /^exports\//);
        }
      } finally {
        server.close();
      }
    });

    test(`Unix socket with TLS over ${protocol}`, async () => {
      const secured = await World.start(authority.serverSettings());
      const path = join(folder, `${protocol}-tls`);
      const server = await forwarder(new URL(secured.serverUrl).port, path);
      try {
        await list(connect(`unix:${path}`, { protocol, tls: { ca: authority.ca } }));
      } finally {
        server.close();
        await secured.stop();
      }
    });

    test(`missing Unix socket is reported with its path over ${protocol}`, async () => {
      const path = join(folder, "missing");
      const client = connect(`unix:${path}`, { protocol, policy: { progressTimeoutMs: 500 } });
      await assert.rejects(client.watch(NAME).result(), (error) => (error as Error).message.includes(path));
    });

    test(`IPv6 address is reached over ${protocol}`, async () => {
      const server = await forwarder(port(), 0, "::1");
      const { port: own } = server.address() as { port: number };
      try {
        for (const form of [`[::1]:${own}`, `http://[::1]:${own}`, `dns:///[::1]:${own}`]) {
          await list(connect(form, { protocol }));
        }
      } finally {
        server.close();
      }
    });

    test(`host with an underscore is reached over ${protocol}`, async (context) => {
      // This machine has no such name. Its suffix is one that a server without authentication allows.
      const { lookup } = dns;
      context.mock.method(
        dns,
        "lookup",
        (name: string, ...rest: Parameters<typeof lookup> extends [string, ...infer R] ? R : never) =>
          (lookup as (...args: unknown[]) => void)(name === "export_server.localhost" ? "127.0.0.1" : name, ...rest),
      );
      await list(connect(`http://export_server.localhost:${port()}`, { protocol }));
    });
  }

  test("invalid address is refused", () => {
    const invalid = [
      "",
      " ",
      "http://",
      "https://",
      "ftp://127.0.0.1:1",
      "::1",
      "::1:8080",
      "http://[::1",
      "127.0.0.1:x",
    ];
    invalid.push("127.0.0.1:99999", "a b:1", "127.0.0.1:1\n", "http://127.0.0.1:1?x=1", "http://127.0.0.1:1#x");
    invalid.push(
      "127.0.0.1:1/path",
      "unix:",
      "unix://host/path",
      "dns:",
      "dns:///",
      "dns://192.0.2.53/localhost:1",
      ":8080",
    );
    for (const server of invalid) {
      assert.throws(() => connect(server), TypeError, server);
      assert.throws(() => connectInBrowser(server), TypeError, server);
    }
    assert.throws(() => connectInBrowser("unix:/socket"), TypeError);
    for (const server of ["http://ada:hunter2@127.0.0.1:1", "ada:hunter2@127.0.0.1:1"]) {
      assert.throws(
        () => parseAddress(server, false),
        (error) => !shown(error).includes("hunter2"),
      );
    }
  });

  test("certificates need TLS and must be valid", () => {
    const { ca, client } = authority;
    for (const server of ["http://127.0.0.1:1"]) assert.throws(() => connect(server, { tls: { ca } }), /https:/);
    const broken: NodeOptions["tls"][] = [{ ca: "x" }, { cert: client.cert }, { cert: "x", key: client.key }];
    for (const tls of [...broken, { cert: client.cert, key: "x" }]) {
      assert.throws(() => connect("https://127.0.0.1:1", tls ? { tls } : {}), TypeError, inspect(tls));
    }
    connect("127.0.0.1:1", { tls: { ca } });
  });
});
