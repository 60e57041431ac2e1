import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";

import type { Browser, Page } from "playwright-core";
import { connect, Export_State } from "tara-export/node";

import type { World } from "../../typescript/tests/world.js";
import { accessibilityViolations, openPage, saveScreenshot, startBrowser } from "./browser.js";
import { type Demo, startDemo, startDemoBehindNginx, startDemoWithoutBucket } from "./demo.js";

const fellBackTitle = "Saved on the server for now";

/** A gRPC-Web response to DownloadBundle: an archive with this name, and status OK. */
function bundleNamed(fileName: string) {
  const field = (number: number, content: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), content]);
  const frame = (flags: number, content: Buffer) =>
    Buffer.concat([Buffer.from([flags, 0, 0, 0, content.length]), content]);
  const archive = field(1, field(1, Buffer.from(fileName)));
  const body = Buffer.concat([frame(0, archive), frame(0x80, Buffer.from("grpc-status: 0\r\n"))]);
  const headers = { "access-control-allow-origin": "*", "content-type": "application/grpc-web+proto" };
  return { status: 200, headers, body };
}

suite("the dialog", () => {
  let demo: Demo;
  let world: World;
  let browser: Browser;
  let page: Page;
  let closePage: () => Promise<void>;
  let pageErrors: string[];

  before(async () => {
    demo = await startDemo();
    ({ world } = demo);
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });
  beforeEach(async () => {
    await world.reset();
    ({ page, errors: pageErrors, close: closePage } = await openPage(browser, demo.pageUrl));
  });
  afterEach(async () => {
    await closePage();
    assert.deepEqual(pageErrors, []);
  });

  const press = (name: string) => page.getByRole("button", { name, exact: true }).click();
  const title = (name: string) => page.getByRole("heading", { name, level: 2 }).waitFor();
  const event = (type: string) => page.locator(`#events [data-type=${type}]`);
  const fact = async (term: string) =>
    (await page.locator("dl.facts > div").filter({ hasText: term }).locator("dd").textContent())?.trim() ?? "";
  const open = async () => {
    await press("Complete review");
    await title("Where should the audit bundle go?");
  };
  const save = async (button = "Save to cloud storage") => {
    await press("Continue");
    await page.locator("dialog.confirm[open]").waitFor();
    await press(button);
  };
  const exportOf = async () => {
    const name = ((await event("started").last().textContent()) ?? "").replace("started: ", "");
    return connect(world.serverUrl, { protocol: "grpc-web" }).getExport(name);
  };
  const assertAccessible = async () => assert.deepEqual(await accessibilityViolations(page), []);

  test("values that cannot be saved unchanged are shown before and after the export", async () => {
    // Half of an emoji, as a page leaves it that cuts a text.
    await page.evaluate(`document.querySelector("[name=document]").value = "report \\ud83d.docx"`);
    await open();
    await page.getByText("cannot be saved unchanged, and are replaced").waitFor();
    await save();
    await title("Saved to cloud storage");
    await page.getByText("1 value was replaced").waitFor();
    await page.getByText("Show the values").click();
    await page.getByText("document_name: contains half of a character").waitFor();
    await assertAccessible();
    const { documentName, replacements } = await exportOf();
    assert.equal(documentName, "report \ufffd.docx");
    assert.deepEqual(
      replacements.map(({ path, reason }) => [path, reason]),
      [["document_name", "NOT_UNICODE"]],
    );
  });

  test("saves to S3 and downloads the document and the bundle", async () => {
    await open();
    assert.ok(await page.getByRole("radio", { name: "Save to cloud storage" }).isChecked());
    await page.getByText("Recommended").waitFor();
    await page.getByText("names no guidelines").waitFor();
    // This server does not notify.
    assert.equal(await page.getByRole("checkbox").count(), 0);
    await saveScreenshot(page, "choose");
    await assertAccessible();
    await page.getByText("list with the checksum").click();
    await page.getByRole("listitem").filter({ hasText: "readable_report.txt" }).waitFor();

    await press("Continue");
    await title("Save this review to cloud storage?");
    await page.getByText("11 files").last().waitFor();
    await saveScreenshot(page, "confirm");
    await assertAccessible();
    await press("Back");
    await title("Where should the audit bundle go?");
    await save();

    await title("Saved to cloud storage");
    assert.match(await fact("Location"), /^s3:\/\/tara-test\/tara\/\d{8}_\d{6}_Incident_report_4711(_\d+)?\/$/);
    assert.equal(await fact("Files"), "11 files and the list of checksums");
    await saveScreenshot(page, "done");
    await assertAccessible();
    const stored = await exportOf();
    assert.equal(stored.state, Export_State.COMMITTED);
    assert.ok((await fact("Proof")).startsWith(stored.manifestSha256));

    const [document] = await Promise.all([page.waitForEvent("download"), press("Download Final document")]);
    assert.equal(document.suggestedFilename(), "after_Incident_report_4711.txt");
    assert.equal(await readFile(await document.path(), "utf8"), "At 10:00 UTC the database stopped.\n");
    await page.getByText("was verified and passed to your browser").waitFor();
    const [bundle] = await Promise.all([page.waitForEvent("download"), press("Download Complete bundle (ZIP)")]);
    assert.equal(bundle.suggestedFilename(), `${stored.folderName}.zip`);
    assert.deepEqual((await readFile(await bundle.path())).subarray(0, 4), Buffer.from("PK\x03\x04", "latin1"));

    // Not a second review, but the end of this one, is the primary action.
    assert.equal(await page.locator("dialog.main button.primary").textContent(), "Close");
    await press("Start a new review");
    await event("new-review").waitFor();
    await page.locator("dialog[open]").waitFor({ state: "detached" });
    // The next review creates another bundle.
    await open();
    await save();
    await title("Saved to cloud storage");
    assert.notEqual((await exportOf()).name, stored.name);
  });

  test("does not save a file under an unsafe name", async () => {
    await open();
    await save();
    await title("Saved to cloud storage");
    let downloads = 0;
    page.on("download", () => {
      downloads += 1;
    });
    for (const [fileName, message] of [
      ["../escaped.zip", "UNTRUSTED_RESPONSE"],
      ["nul.zip", "is not a valid file name"],
      ["a\u202epiz.zip", "is not a valid file name"],
    ] as const) {
      await page.route("**/DownloadBundle", (route) => route.fulfill(bundleNamed(fileName)));
      await press("Download Complete bundle (ZIP)");
      await page.getByText(message).waitFor();
      await page.unroute("**/DownloadBundle");
    }
    assert.equal(downloads, 0);
  });

  test("saves on the server, using only the keyboard", async () => {
    await page.getByRole("button", { name: "Complete review" }).focus();
    await page.keyboard.press("Enter");
    await title("Where should the audit bundle go?");
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowDown");
    assert.ok(await page.getByRole("radio", { name: "Save on the server only" }).isChecked());
    // Tab order: contents, Cancel, Continue.
    for (const key of ["Tab", "Tab", "Tab", "Enter"]) await page.keyboard.press(key);
    await title("Save this review on the server only?");
    await page.keyboard.press("Escape");
    await title("Where should the audit bundle go?");
    await page.keyboard.press("Enter");
    await title("Save this review on the server only?");
    for (const key of ["Tab", "Tab", "Enter"]) await page.keyboard.press(key);
    await title("Saved on the server");
    assert.match(await fact("Location"), /exports\/\d{8}_\d{6}_Incident_report_4711\/$/);
    await page.keyboard.press("Escape");
    await event("closed").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Complete review");
    // The review is the same: its result is shown again, and it is not exported twice.
    await press("Complete review");
    await title("Saved on the server");
  });

  test("explains the fallback when S3 is down", async () => {
    await open();
    await world.do("s3 down");
    await save();
    await title(fellBackTitle);
    await page.getByText("The bundle could not be saved to cloud storage yet.").waitFor();
    await page.getByText("The server moves it to cloud storage automatically").waitFor();
    await saveScreenshot(page, "fell-back");
    await assertAccessible();
    assert.equal((await exportOf()).state, Export_State.FELL_BACK);
  });

  test("shows a failure and retries", async () => {
    await page.getByLabel("If S3 is not available").selectOption("none");
    await open();
    await world.do("s3 down");
    await save();
    await title("No bundle was created");
    await page.getByText("STORE_DENIED").waitFor();
    await event("failed").waitFor();
    await saveScreenshot(page, "failed");
    await assertAccessible();
    await world.do("s3 up");
    await press("Try again");
    await title("Saved to cloud storage");
  });

  test("does not export when cancelled", async () => {
    const client = connect(world.serverUrl);
    const count = async () => {
      let exports = 0;
      for await (const _ of client.listExports()) exports += 1;
      return exports;
    };
    const before = await count();
    await open();
    await press("Cancel");
    await event("cancelled").waitFor();
    await open();
    await page.keyboard.press("Escape");
    await event("cancelled").nth(1).waitFor();
    assert.equal(await count(), before);
    assert.equal(await event("started").count(), 0);
  });

  test("shows the progress of each file and continues in the background", async () => {
    await open();
    await world.do("hold");
    await save();
    await page.getByText("7 of 12 files").first().waitFor();
    assert.equal(await page.locator("li.stored").count(), 7);
    await page.locator("li.sending").filter({ hasText: "accepted_feedback.json" }).waitFor();
    await saveScreenshot(page, "running");
    await assertAccessible();
    await press("Continue in the background");
    await event("closed").waitFor();
    await world.do("release");
    await event("completed").waitFor();
    assert.equal(await page.locator("dialog[open]").count(), 0);
    await press("Complete review");
    await title("Saved to cloud storage");
  });

  test("resumes an export after a reload", async () => {
    await open();
    await world.do("hold");
    await save();
    await page.getByText("7 of 12 files").first().waitFor();
    const { name } = await exportOf();
    await page.reload();
    await title("Reconnecting to the export");
    // The previous progress is shown again.
    await page.getByText("7 of 12 files").first().waitFor();
    assert.equal(await page.locator("li.stored").count(), 7);
    await world.do("release");
    await title("Saved to cloud storage");
    const completed = await connect(world.serverUrl).getExport(name);
    assert.equal(await fact("Location"), completed.location);
  });

  test("follows an export that the back end started", async () => {
    await page.getByLabel("the back end of this page").check();
    await open();
    await save();
    await title("Saved to cloud storage");
    assert.match(await fact("Location"), /Störungsbericht/);
    assert.equal((await exportOf()).state, Export_State.COMMITTED);
  });

  test("uploads a large document in chunks and shows the progress", async () => {
    const sizeBytes = 9 * 1024 * 1024;
    const file = join(world.folder, "large.docx");
    await writeFile(file, Buffer.alloc(sizeBytes, "large "));
    await page.getByLabel("After the review").setInputFiles(file);
    await open();
    const stages = await page.locator("dialog.main").evaluateHandle((dialog) => {
      const seen: string[] = [];
      const record = () => seen.push(dialog.querySelector(".stage")?.textContent ?? "");
      new MutationObserver(record).observe(dialog, { subtree: true, childList: true });
      return seen;
    });
    await save();
    await title("Saved to cloud storage");
    assert.match((await stages.jsonValue()).join(), /Sending large.docx to the server: \d+%/);
    const stored = await exportOf();
    const document = stored.artifacts.find(({ path }) => path.startsWith("documents/after_"));
    assert.equal(document?.sizeBytes, BigInt(sizeBytes));
  });

  test("works in a page whose tracing libraries add headers to every request", async () => {
    await page.evaluate(() => {
      const { fetch } = globalThis;
      globalThis.fetch = (input, init) => {
        const headers = new Headers(init?.headers);
        const added = ["baggage", "sentry-trace", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-request-id"];
        for (const name of added) headers.set(name, "1");
        return fetch(input, { ...init, headers });
      };
    });
    await open();
    await save();
    await title("Saved to cloud storage");
  });

  test("is accessible in dark mode and on a phone", async () => {
    await page.emulateMedia({ colorScheme: "dark" });
    await open();
    await saveScreenshot(page, "choose-dark");
    await assertAccessible();
    await page.setViewportSize({ width: 390, height: 780 });
    await saveScreenshot(page, "choose-phone");
    await save();
    await title("Saved to cloud storage");
    await saveScreenshot(page, "done-dark-phone");
    await assertAccessible();
    const width = await page.locator("dialog.main").evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth);
    assert.equal(width, 0);
  });
});

test("server without a bucket recommends local storage and explains why", async () => {
  const folder = await mkdtemp(join(tmpdir(), "complete-review-"));
  const demo = await startDemoWithoutBucket(folder);
  const browser = await startBrowser();
  try {
    const { page, errors } = await openPage(browser, demo.pageUrl);
    await page.getByRole("button", { name: "Complete review" }).click();
    await page.getByRole("heading", { name: "Where should the audit bundle go?" }).waitFor();
    assert.ok(await page.getByRole("radio", { name: "Save on the server only" }).isChecked());
    assert.ok(await page.getByRole("radio", { name: "Save to cloud storage" }).isDisabled());
    await page.getByText("Cloud storage (S3) is not set up on this server.").waitFor();
    await saveScreenshot(page, "choose-without-bucket");
    assert.deepEqual(await accessibilityViolations(page), []);
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("button", { name: "Save on the server" }).click();
    await page.getByRole("heading", { name: "Saved on the server" }).waitFor();
    assert.deepEqual(errors, []);
  } finally {
    await browser.close();
    await demo.stop();
    await rm(folder, { recursive: true, force: true });
  }
});

test("unreachable service shows an error with a retry", async () => {
  const demo = await startDemo();
  const browser = await startBrowser();
  try {
    const { page } = await openPage(browser, demo.pageUrl);
    await page.route("**/PreviewExport", (route) => route.abort());
    await page.getByRole("button", { name: "Complete review" }).click();
    await page.getByRole("heading", { name: "Can’t reach the server" }).waitFor();
    await page.getByText("Nothing was sent.").waitFor();
    await page.unroute("**/PreviewExport");
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByRole("heading", { name: "Where should the audit bundle go?" }).waitFor();
  } finally {
    await browser.close();
    await demo.stop();
  }
});

test("behind nginx with its default limits, progress is shown and a large document is uploaded", async () => {
  const demo = await startDemoBehindNginx();
  const browser = await startBrowser();
  try {
    const { page } = await openPage(browser, demo.pageUrl);
    const sizeBytes = 9 * 1024 * 1024;
    const file = join(demo.world.folder, "large.docx");
    await writeFile(file, Buffer.alloc(sizeBytes, "large "));
    await page.getByLabel("After the review").setInputFiles(file);
    await demo.world.do("hold");
    const press = (name: string) => page.getByRole("button", { name, exact: true }).click();
    await press("Complete review");
    await press("Continue");
    await page.locator("dialog.confirm[open]").waitFor();
    await press("Save to cloud storage");
    // While S3 does not respond, so nginx passes on each event at once.
    await page.locator("#events [data-type=started]").waitFor();
    await page.locator("li.stored").first().waitFor();
    await demo.world.do("release");
    await page.getByRole("heading", { name: "Saved to cloud storage", level: 2 }).waitFor();
    const name = ((await page.locator("#events [data-type=started]").last().textContent()) ?? "").slice(9);
    const stored = await connect(demo.world.serverUrl, { protocol: "grpc-web" }).getExport(name);
    const document = stored.artifacts.find(({ path }) => path.startsWith("documents/after_"));
    assert.equal(document?.sizeBytes, BigInt(sizeBytes));
  } finally {
    await browser.close();
    await demo.stop();
  }
});
