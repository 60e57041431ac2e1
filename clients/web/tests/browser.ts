import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";

import { root } from "../../typescript/tests/world.js";

const screenshots = join(root, "target/screenshots");

/** Starts Debian's Chromium, or the one at the path in `CHROMIUM`. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
}

/** Opens the demo page in a new browser context, and collects the page's uncaught errors. */
export async function openPage(browser: Browser, url: string, options: BrowserContextOptions = {}) {
  const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, ...options });
  const page = await context.newPage();
  const errors: string[] = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  // The demo has set its functions.
  await page.locator("#review button:enabled").waitFor();
  await page.getByLabel("Document name").fill("Incident report 4711.docx");
  return { page, errors, close: () => context.close() };
}

/** Saves a screenshot, which CI keeps. */
export async function saveScreenshot(page: Page, name: string): Promise<void> {
  await mkdir(screenshots, { recursive: true });
  // Move the mouse away to remove hover styles.
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(screenshots, `${name}.png`), animations: "disabled" });
}

/** Returns the accessibility violations that axe-core finds, one line each. */
export async function accessibilityViolations(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve("axe-core/axe.min.js") });
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
    const { violations } = await axe.run({ include: ["complete-review", "complete-review-status"] });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`),
    );
  });
}
