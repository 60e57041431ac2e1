// Starts the demo page with a server, as `npm run demo` does.
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";

import { Nginx } from "../../typescript/tests/nginx.js";
import { type Program, root, serverProgram, startProgram, World } from "../../typescript/tests/world.js";

/** A demo page and its test world. */
export interface Demo {
  pageUrl: string;
  world: World;
  stop(): Promise<void>;
}

/** Starts a page and a world whose server allows the page's origin. `env` is the environment of both. */
export async function startDemo(env: Record<string, string> = {}): Promise<Demo> {
  const { port, pageUrl, settings } = await origin();
  const world = await World.start({ ...settings, ...env });
  const page = await startPage(port, world.serverUrl, env);
  const stop = async () => {
    await page.stop();
    await world.stop();
  };
  return { pageUrl, world, stop };
}

/** Starts a page whose server is behind nginx, which has another origin and its default limits. */
export async function startDemoBehindNginx(): Promise<Demo> {
  const { port, pageUrl, settings } = await origin();
  const world = await World.start(settings);
  const nginx = await Nginx.start(world.folder, new URL(world.serverUrl).host);
  const page = await startPage(port, nginx.webUrl);
  const stop = async () => {
    await page.stop();
    await nginx.stop();
    await world.stop();
  };
  return { pageUrl, world, stop };
}

/** Starts a page and a server without a bucket. */
export async function startDemoWithoutBucket(folder: string): Promise<Omit<Demo, "world">> {
  const { port, pageUrl, settings } = await origin();
  const args = ["serve", "--port", "0", "--data-dir", folder];
  const env = { ...settings, LOG_FORMAT: "json", S3_BUCKET_NAME: "" };
  const server = await startProgram(serverProgram, args, /"address":"([^"]+)"/, env);
  const page = await startPage(port, `http://${server.readyValue}`);
  const stop = async () => {
    await page.stop();
    await server.stop();
  };
  return { pageUrl, stop };
}

function startPage(port: string, serverUrl: string, env: Record<string, string> = {}): Promise<Program> {
  const args = [join(root, "clients/web/demo/serve.mjs"), "--port", port, "--server", serverUrl];
  return startProgram(process.execPath, args, /demo is at (\S+)/, env);
}

/** Finds a free port for the page: the server needs the page's origin before the page can start. */
async function origin() {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const port = String((probe.address() as AddressInfo).port);
  await new Promise((resolve) => probe.close(resolve));
  const pageUrl = `http://127.0.0.1:${port}`;
  return { port, pageUrl, settings: { CORS_ALLOWED_ORIGINS: pageUrl } };
}
