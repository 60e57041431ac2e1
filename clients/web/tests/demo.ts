// A world with the demo page in it.
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";

import { root, startProgram, startWorld, type World } from "../../typescript/tests/world/world.js";

/** A world with a page. */
export interface DemoWorld extends World {
  pageUrl: string;
}

/** Starts a world that allows the page, and the page. */
export async function startDemo(settings: Record<string, string> = {}): Promise<DemoWorld> {
  const port = String(await freePort());
  const pageUrl = `http://127.0.0.1:${port}`;
  const world = await startWorld({ CORS_ALLOWED_ORIGINS: pageUrl, ...settings });
  const args = [join(root, "clients/web/demo/serve.mjs"), "--port", port, "--server", world.serverUrl];
  const page = await startProgram(process.execPath, args, /demo is at (\S+)/);
  const stop = async () => {
    await page.stop();
    await world.stop();
  };
  return { ...world, pageUrl, stop };
}

/** The server must know the page's origin before the page can know the server's. */
async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}
