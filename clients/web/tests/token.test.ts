// The dialog with a server that requires a token.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";

import type { Browser, Page } from "playwright-core";

import { openPage, startBrowser } from "./browser.js";
import { type Demo, startDemo } from "./demo.js";

const TOKEN = "0c5a1f-accepted-by-the-server";
const REFUSED = "9b3e77-refused-by-the-server";

suite("the dialog with a token", () => {
  let demo: Demo;
  let browser: Browser;
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "tara-export-token-"));
    const sha256 = createHash("sha256").update(TOKEN).digest("hex");
    const tokens = join(folder, "tokens.json");
    await writeFile(tokens, JSON.stringify({ tokens: [{ name: "app", roles: ["export", "read"], sha256 }] }));
    demo = await startDemo({ AUTH_TOKENS_FILE: tokens, TARA_EXPORT_TOKEN: TOKEN });
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
    await rm(folder, { recursive: true });
  });

  /** Opens the page, and collects everything that the page logs, reports or stores. */
  async function opened(): Promise<{ page: Page; shown: () => Promise<string>; close: () => Promise<void> }> {
    const { page, errors, close } = await openPage(browser, demo.pageUrl);
    const logged: string[] = [];
    page.on("console", (message) => logged.push(message.text()));
    const shown = async () => {
      const content = await page.evaluate(() => {
        const element = document.querySelector("complete-review");
        const inside = element?.shadowRoot?.innerHTML ?? "";
        return `${document.documentElement.outerHTML}${inside}${JSON.stringify({ ...sessionStorage, ...localStorage })}`;
      });
      return [content, ...logged, ...errors].join("\n");
    };
    return { page, shown, close };
  }

  for (const mode of ["this page, over gRPC-Web", "the back end of this page"]) {
    test(`export, progress and download: ${mode}`, async () => {
      const { page, shown, close } = await opened();
      try {
        await page.getByLabel(mode).check();
        await page.getByRole("button", { name: "Complete review", exact: true }).click();
        await page.getByRole("button", { name: "Continue" }).click();
        await page.getByRole("button", { name: "Save to cloud storage" }).click();
        await page.locator("#events [data-type=completed]").waitFor();
        const download = page.waitForEvent("download");
        await page.getByRole("button", { name: /Download.*bundle/i }).click();
        assert.match((await download).suggestedFilename(), /\.zip$/);
        assert.ok(!(await shown()).includes(TOKEN));
      } finally {
        await close();
      }
    });
  }

  test("refused token is shown with the server's reason, and never logged", async () => {
    const { page, shown, close } = await opened();
    try {
      await page.evaluate(async (token) => {
        const { connect, directToService } = await import("/complete-review.js" as string);
        // A new element: the page sets the properties of its own when a field of the form changes.
        const element = document.createElement("complete-review") as HTMLElement & { token: string; open(): void };
        element.setAttribute("server", document.querySelector("complete-review")?.getAttribute("server") ?? "");
        element.token = token;
        document.body.append(element);
        const client = connect(element.getAttribute("server") ?? "", { token });
        const backend = directToService(client, () => ({ review: { documentName: "a.docx" } }));
        Object.assign(element, backend);
        element.open();
      }, REFUSED);
      await page.getByText("CREDENTIALS_INVALID").waitFor();
      assert.ok(!(await shown()).includes(REFUSED));
    } finally {
      await close();
    }
  });

  test("failing function is shown with its own error", async () => {
    const { page, close } = await opened();
    try {
      await page.evaluate(async () => {
        const { connect, directToService } = await import("/complete-review.js" as string);
        const element = document.createElement("complete-review") as HTMLElement & { open(): void };
        document.body.append(element);
        const token = () => Promise.reject(new Error("You are signed out."));
        const server = document.querySelector("complete-review")?.getAttribute("server") ?? "";
        const backend = directToService(connect(server, { token }), () => ({ review: { documentName: "a.docx" } }));
        Object.assign(element, backend);
        element.open();
      });
      await page.getByText("You are signed out.").waitFor();
    } finally {
      await close();
    }
  });

  test("token is a property, not an attribute, and not sent without TLS to another machine", async () => {
    const { page, shown, close } = await opened();
    try {
      const problem = await page.evaluate((token) => {
        const element = document.createElement("complete-review") as HTMLElement & { token: string | undefined };
        element.setAttribute("token", token);
        if (element.hasAttribute("token") || element.token !== undefined) return "the attribute is used";
        element.setAttribute("server", "http://export.example.com");
        try {
          element.token = token;
          return "accepted";
        } catch (error) {
          if (element.token !== undefined) return "the refused token is kept";
          return String(error);
        }
      }, REFUSED);
      assert.match(problem, /TypeError.*https:\/\//);
      const output = await shown();
      assert.match(output, /ignores the attribute token/);
      assert.ok(!`${problem}${output}`.includes(REFUSED));
    } finally {
      await close();
    }
  });
});
