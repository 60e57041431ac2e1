// The notification by e-mail that the dialog offers.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";

import type { Browser, Page } from "playwright-core";

import { writeNotifyFile } from "../../typescript/tests/notifications.js";
import { accessibilityViolations, openPage, saveScreenshot, startBrowser } from "./browser.js";
import { type Demo, startDemo } from "./demo.js";

const LABEL = "Notify me by e-mail";
/** The mail server does not exist: the dialog does not wait for it. */
const people = {
  name: "people",
  kind: "email",
  smtp: "smtp://127.0.0.1:1",
  from: "audit@example.com",
  to: "requested",
};

suite("notification by e-mail", () => {
  let folder: string;
  let demo: Demo;
  let browser: Browser;
  let page: Page;
  let closePage: () => Promise<void>;
  let pageErrors: string[];
  /** The StartExport requests of the page. */
  let started: string[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "complete-review-notify-"));
    const file = await writeNotifyFile(folder, { targets: [people] }, "");
    demo = await startDemo({ NOTIFY_FILE: file, NOTIFY_RECIPIENTS: "example.com" });
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  beforeEach(async () => {
    await demo.world.reset();
    ({ page, errors: pageErrors, close: closePage } = await openPage(browser, demo.pageUrl));
    started = [];
    page.on("request", (request) => {
      if (request.url().endsWith("/StartExport")) started.push(request.postDataBuffer()?.toString("latin1") ?? "");
    });
  });
  afterEach(async () => {
    await closePage();
    assert.deepEqual(pageErrors, []);
  });

  const press = (name: string) => page.getByRole("button", { name, exact: true }).click();
  const title = (name: string) => page.getByRole("heading", { name, level: 2 }).waitFor();
  const checkbox = (label = LABEL) => page.getByRole("checkbox", { name: label, exact: true });
  const address = () => page.getByLabel("Your e-mail address");
  const open = async () => {
    await press("Complete review");
    await title("Where should the audit bundle go?");
  };
  const save = async (button = "Save to cloud storage") => {
    await press("Continue");
    await page.locator("dialog.confirm[open]").waitFor();
    await press(button);
  };
  const giveAddress = (email: string) =>
    page.evaluate((email) => document.querySelector("complete-review")?.setAttribute("notify-email", email), email);
  const assertAccessible = async () => assert.deepEqual(await accessibilityViolations(page), []);

  test("is off by default", async () => {
    await giveAddress("ada@example.com");
    await open();
    assert.equal(await checkbox(`${LABEL} at ada@example.com`).isChecked(), false);
    await save();
    await title("Saved to cloud storage");
    assert.equal(started.filter((request) => request.includes("@example.com")).length, 0);
  });

  test("is sent to the page's address, using only the keyboard", async () => {
    await giveAddress("ada@example.com");
    await open();
    // Tab order: destination, notification, contents, Cancel, Continue.
    for (const key of ["Tab", "Tab", "Space"]) await page.keyboard.press(key);
    assert.ok(await checkbox(`${LABEL} at ada@example.com`).isChecked());
    await saveScreenshot(page, "choose-notify");
    await assertAccessible();
    for (const key of ["Tab", "Tab", "Tab", "Enter"]) await page.keyboard.press(key);
    await title("Save this review to cloud storage?");
    await page.getByText("You will be notified by e-mail at ada@example.com.").waitFor();
    await assertAccessible();
    await press("Back");
    assert.ok(await checkbox(`${LABEL} at ada@example.com`).isChecked());
    await save();
    await title("Saved to cloud storage");
    assert.ok(started.at(-1)?.includes("ada@example.com"));
    // The next review starts without it.
    await press("Start a new review");
    await open();
    assert.equal(await checkbox(`${LABEL} at ada@example.com`).isChecked(), false);
  });

  test("needs a valid address if the page gives none", async () => {
    await open();
    assert.ok(await address().isHidden());
    await checkbox().check();
    await address().fill("ada");
    await press("Continue");
    await page.getByText("Enter an e-mail address, such as").waitFor();
    assert.equal(await page.locator("dialog.confirm[open]").count(), 0);
    assert.equal(await address().evaluate((input) => input.matches(":focus")), true);
    assert.equal(await address().getAttribute("aria-invalid"), "true");
    await saveScreenshot(page, "choose-notify-invalid");
    await assertAccessible();
    await address().fill("ada@example.com");
    await page.getByText("Enter an e-mail address, such as").waitFor({ state: "hidden" });
    await save();
    await title("Saved to cloud storage");
    assert.ok(started.at(-1)?.includes("ada@example.com"));
  });

  test("an address that the server refuses is shown at its field", async () => {
    await open();
    await page.getByText("Save on the server only", { exact: true }).click();
    await checkbox().check();
    await address().fill("eve@example.net");
    await save("Save on the server");
    await page.locator("#notify-error:not(:empty)").waitFor();
    await title("Where should the audit bundle go?");
    assert.match((await page.locator("#notify-error").textContent()) ?? "", /[.]$/);
    assert.equal(await address().evaluate((input) => input.matches(":focus")), true);
    assert.equal(await address().inputValue(), "eve@example.net");
    assert.ok(await page.getByRole("radio", { name: "Save on the server only" }).isChecked());
    await saveScreenshot(page, "choose-notify-refused");
    await assertAccessible();
    await address().fill("ada@example.com");
    await save("Save on the server");
    await title("Saved on the server");
    assert.ok(started.at(-1)?.includes("ada@example.com"));
  });

  test("is kept when the user tries again", async () => {
    await page.getByLabel("If S3 is not available").selectOption("none");
    await giveAddress("ada@example.com");
    await open();
    await checkbox(`${LABEL} at ada@example.com`).check();
    await demo.world.do("s3 down");
    await save();
    await title("No bundle was created");
    await press("Choose again");
    await title("Where should the audit bundle go?");
    assert.ok(await checkbox(`${LABEL} at ada@example.com`).isChecked());
    await save();
    await title("No bundle was created");
    await demo.world.do("s3 up");
    await press("Try again");
    await title("Saved to cloud storage");
    assert.ok(started.length >= 3 && started.every((request) => request.includes("ada@example.com")));
  });

  test("is passed to the page's back end", async () => {
    await page.getByLabel("the back end of this page").check();
    await giveAddress("ada@example.com");
    await open();
    await checkbox(`${LABEL} at ada@example.com`).check();
    const [request] = await Promise.all([page.waitForRequest("**/api/start"), save()]);
    assert.deepEqual(request.postDataJSON().notify_emails, ["ada@example.com"]);
    await title("Saved to cloud storage");
  });
});
