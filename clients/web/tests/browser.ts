import { mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

import { type Browser, chromium, type Page } from "playwright-core";

import { root } from "../../typescript/tests/world.js";

const screenshots = join(root, "target/screenshots");

/** Debian's Chromium, or the one that CHROMIUM names. */
export function startBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"],
  });
}

/** The demo page in a tab without a memory; what goes wrong in it goes wrong in the test. */
export async function openPage(browser: Browser, url: string, scheme: "light" | "dark" = "light") {
  const context = await browser.newContext({ viewport: { width: 1000, height: 800 }, colorScheme: scheme });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  await page.getByLabel("Document’s name").fill("Incident report 4711.docx");
  return { page, faults, close: () => context.close() };
}

/** Keeps a picture as CI's output. */
export async function picture(page: Page, name: string): Promise<void> {
  await mkdir(screenshots, { recursive: true });
  // Nothing is to look touched.
  await page.mouse.move(0, 0);
  await page.screenshot({ path: join(screenshots, `${name}.png`), animations: "disabled" });
}

/** What axe-core finds wrong in what is shown, one line each. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve("axe-core/axe.min.js") });
  return page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: typeof import("axe-core") };
    const { violations } = await axe.run("complete-review");
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} ${target}: ${failureSummary}`),
    );
  });
}
