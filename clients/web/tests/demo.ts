// The demo page before a server, as `npm run demo` serves it.
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";

import { type Program, root, serverProgram, startProgram, World } from "../../typescript/tests/world.js";

/** A page, and what is behind it. */
export interface Demo {
  pageUrl: string;
  world: World;
  stop(): Promise<void>;
}

/** A page before a world whose server allows it. */
export async function startDemo(): Promise<Demo> {
  const { port, pageUrl, settings } = await origin();
  const world = await World.start(settings);
  const page = await startPage(port, world.serverUrl);
  const stop = async () => {
    await page.stop();
    await world.stop();
  };
  return { pageUrl, world, stop };
}

/** A page before a server that has no bucket. */
export async function startDemoWithoutBucket(folder: string): Promise<Omit<Demo, "world">> {
  const { port, pageUrl, settings } = await origin();
  const args = ["serve", "--port", "0", "--data-dir", folder];
  const env = { ...settings, LOG_FORMAT: "json", S3_BUCKET_NAME: "" };
  const server = await startProgram(serverProgram, args, /"address":"([^"]+)"/, env);
  const page = await startPage(port, `http://${server.found}`);
  const stop = async () => {
    await page.stop();
    await server.stop();
  };
  return { pageUrl, stop };
}

function startPage(port: string, serverUrl: string): Promise<Program> {
  const args = [join(root, "clients/web/demo/serve.mjs"), "--port", port, "--server", serverUrl];
  return startProgram(process.execPath, args, /demo is at (\S+)/);
}

/** A free port: the server must know the page's origin before the page can know the server's. */
async function origin() {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const port = String((probe.address() as AddressInfo).port);
  await new Promise((resolve) => probe.close(resolve));
  const pageUrl = `http://127.0.0.1:${port}`;
  return { port, pageUrl, settings: { CORS_ALLOWED_ORIGINS: pageUrl } };
}
