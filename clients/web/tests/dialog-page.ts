// What a user does in the demo page, and what it shows.
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { connect } from "tara-export/node";

import { accessibilityViolations, openPage } from "./browser.js";
import type { Demo } from "./demo.js";

/** A tab with the demo page. */
export class DialogPage {
  private constructor(
    readonly page: Page,
    private readonly demo: Demo,
    /** Uncaught errors of the page. */
    readonly errors: readonly string[],
    readonly close: () => Promise<void>,
  ) {}

  static async open(browser: Browser, demo: Demo, options: BrowserContextOptions = {}): Promise<DialogPage> {
    const { page, errors, close } = await openPage(browser, demo.pageUrl, options);
    return new DialogPage(page, demo, errors, close);
  }

  /** Another tab of the same browser. */
  async otherTab(): Promise<DialogPage> {
    const page = await this.page.context().newPage();
    page.setDefaultTimeout(60_000);
    await page.goto(this.demo.pageUrl);
    return new DialogPage(page, this.demo, [], () => page.close());
  }

  press(name: string): Promise<void> {
    return this.page.getByRole("button", { name, exact: true }).click();
  }

  title(name: string): Promise<void> {
    return this.page.getByRole("heading", { name, level: 2 }).waitFor();
  }

  text(text: string | RegExp): Promise<void> {
    return this.page.getByText(text).first().waitFor();
  }

  /** Whether a text is shown now. */
  shows(text: string): Promise<boolean> {
    return this.page.getByText(text).first().isVisible();
  }

  event(type: string) {
    return this.page.locator(`#events [data-type=${type}]`);
  }

  async fact(term: string): Promise<string> {
    const value = this.page.locator("dl.facts > div").filter({ hasText: term }).locator("dd");
    return (await value.textContent())?.trim() ?? "";
  }

  async choose(): Promise<void> {
    await this.press("Complete review");
    await this.title("Where should the audit bundle go?");
  }

  /** Confirms the choice. */
  async save(): Promise<void> {
    await this.press("Continue");
    await this.page.locator("dialog.confirm[open]").waitFor();
    await this.press("Save to cloud storage");
  }

  /** Chooses a large file as the document after the review. Its content is different in each test. */
  async chooseLargeFile(sizeBytes: number, seed: string): Promise<void> {
    const file = join(this.demo.world.folder, "large.docx");
    await writeFile(file, Buffer.alloc(sizeBytes, seed));
    await this.page.getByLabel("After the review").setInputFiles(file);
  }

  /** The saved state of the export in this tab. */
  async saved(): Promise<{ requestId: string; phase: string } | undefined> {
    const text = await this.page.evaluate(() => sessionStorage.getItem("complete-review:demo"));
    return text === null ? undefined : JSON.parse(text);
  }

  /** Sets the page's language. */
  language(language: string): Promise<void> {
    return this.page.evaluate((lang) => {
      document.documentElement.lang = lang;
    }, language);
  }

  async assertAccessible(): Promise<void> {
    assert.deepEqual(await accessibilityViolations(this.page), []);
  }

  /** The number of exports of the server. */
  async exportCount(): Promise<number> {
    let count = 0;
    for await (const _ of connect(this.demo.world.serverUrl).listExports()) count += 1;
    return count;
  }
}
