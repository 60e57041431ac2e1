// Every step on a computer, on a phone in both orientations, and in the ways in which people adapt a page. Writes
// screenshots in English and German.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";

import type { Browser } from "playwright-core";

import { Texts } from "../src/messages/texts.js";
import { saveScreenshot, startBrowser } from "./browser.js";
import { type Demo, startDemo } from "./demo.js";
import { DialogPage } from "./dialog-page.js";

const sizes = [
  [1280, 800],
  [740, 360],
  [320, 568],
] as const;

/** What of the open dialog cannot be seen or reached; empty if nothing. */
function hiddenParts(): string[] {
  const root = document.querySelector("complete-review")?.shadowRoot;
  const dialog = [...(root?.querySelectorAll("dialog[open]") ?? [])].at(-1) as HTMLElement;
  const body = dialog.querySelector(".body") as HTMLElement;
  const problems: string[] = [];
  const inside = (element: Element, what: string) => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    if (left < 0 || top < 0 || right > innerWidth + 0.5 || bottom > innerHeight + 0.5)
      problems.push(`${what} is outside`);
  };
  inside(dialog, "the dialog");
  for (const button of dialog.querySelectorAll("footer button:not([hidden])")) inside(button, button.textContent ?? "");
  for (const element of [dialog, body, ...dialog.querySelectorAll("button, h2, .notice, label")]) {
    if (element.scrollWidth > element.clientWidth + 1)
      problems.push(`${element.className || element.localName} is too wide`);
  }
  body.scrollTop = 0;
  body.dispatchEvent(new Event("scroll"));
  const isMoreBelow = body.scrollHeight > body.clientHeight + 1;
  const cue = getComputedStyle(dialog.querySelector("footer") as Element, "::before").content;
  if (isMoreBelow !== (cue !== "none")) problems.push(`more below: ${isMoreBelow}, cue: ${cue}`);
  if (isMoreBelow && body.clientHeight < 60) problems.push(`the content has only ${body.clientHeight} px`);
  body.scrollTop = body.scrollHeight;
  body.dispatchEvent(new Event("scroll"));
  const cueAtEnd = getComputedStyle(dialog.querySelector("footer") as Element, "::before").content;
  if (cueAtEnd !== "none") problems.push("there is a cue at the end");
  const last = [...body.children].filter((child) => child.getClientRects().length > 0).at(-1);
  const end = last?.getBoundingClientRect().bottom ?? 0;
  if (end > body.getBoundingClientRect().bottom + 1) problems.push("the end cannot be reached");
  body.scrollTop = 0;
  body.dispatchEvent(new Event("scroll"));
  return problems;
}

suite("screens", () => {
  let demo: Demo;
  let browser: Browser;
  let dialog: DialogPage;

  before(async () => {
    demo = await startDemo();
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });
  beforeEach(async () => {
    await demo.world.reset();
    dialog = await DialogPage.open(browser, demo);
  });
  afterEach(async () => {
    await dialog.close();
    assert.deepEqual(dialog.errors, []);
  });

  /** Checks the current step. */
  const check = async (what: string) => assert.deepEqual(await dialog.page.evaluate(hiddenParts), [], what);
  const checkSizes = async (step: string, language: string) => {
    for (const [width, height] of sizes) {
      await dialog.page.setViewportSize({ width, height });
      await check(`${language} ${step} at ${width}×${height}`);
      await saveScreenshot(dialog.page, `${language}-${step}-${width}x${height}`);
    }
    await dialog.assertAccessible();
    await dialog.page.setViewportSize({ width: 1000, height: 800 });
  };
  /** Goes through the steps in this language, and checks each. */
  const walk = async (language: string, check: (step: string) => Promise<void>) => {
    const texts = new Texts(language);
    await dialog.language(language);
    await dialog.press("Complete review");
    await dialog.title(texts.text("choose.title"));
    await check("choose");
    await dialog.press(texts.text("action.continue"));
    await dialog.title(texts.text("confirm.title.s3"));
    await check("confirm");
    await demo.world.do("hold");
    await dialog.press(texts.text("confirm.action.s3"));
    await dialog.page.locator("li.stored").nth(6).waitFor();
    await check("running");
    await dialog.press(texts.text("action.hide"));
    await dialog.page.getByRole("button", { name: texts.text("status.open") }).waitFor();
    await demo.world.do("release");
    await dialog.event("completed").waitFor();
    await dialog.press(texts.text("status.open"));
    await dialog.title(texts.text("done.title.s3"));
    await check("done");
  };

  for (const language of ["en", "de"]) {
    test(`nothing is hidden without a cue at any size: ${language}`, async () => {
      await walk(language, (step) => checkSizes(step, language));
    });

    test(`faults and the fallback show everything at any size: ${language}`, async () => {
      const texts = new Texts(language);
      await dialog.language(language);
      await dialog.press("Complete review");
      await dialog.title(texts.text("choose.title"));
      await demo.world.do("s3 down");
      await dialog.press(texts.text("action.continue"));
      await dialog.press(texts.text("confirm.action.s3"));
      await dialog.title(texts.text("done.title.provisional"));
      await checkSizes("provisional", language);
      await dialog.press(texts.text("action.newReview"));
      await dialog.page.getByLabel("If S3 is not available").selectOption("none");
      await dialog.press("Complete review");
      await dialog.press(texts.text("action.continue"));
      await dialog.press(texts.text("confirm.action.s3"));
      await dialog.title(texts.text("failed.title.refused"));
      await checkSizes("failed", language);
      await dialog.page.evaluate(() => {
        const large = [{ fileName: "Störungsbericht.docx", sizeBytes: 209_715_200 }];
        const requestId = crypto.randomUUID();
        const saved = { requestId, destination: "s3", phase: "sending", notifyEmails: [], large };
        sessionStorage.setItem("complete-review:demo", JSON.stringify(saved));
      });
      await demo.world.do("s3 up");
      await dialog.page.reload();
      await dialog.page.locator("dialog.main[open] .seal.warning").waitFor();
      await dialog.page.evaluate(
        (lang) => document.querySelector("complete-review")?.setAttribute("lang", lang),
        language,
      );
      await dialog.title(texts.text("interrupted.title"));
      await checkSizes("interrupted", language);
    });
  }

  for (const language of ["de", "fr", "es", "ja"]) {
    test(`large text and wide spacing fit: ${language}`, async () => {
      await dialog.page.evaluate(() => {
        // WCAG 1.4.12, inside of the element.
        const spacing =
          "* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important }";
        for (const element of document.querySelectorAll("complete-review, complete-review-status")) {
          const sheet = new CSSStyleSheet();
          sheet.replaceSync(`${spacing} p { margin-bottom: 2em !important }`);
          element.shadowRoot?.adoptedStyleSheets.push(sheet);
        }
      });
      await walk(language, async (step) => {
        await dialog.page.setViewportSize({ width: 640, height: 800 });
        await check(`${language} ${step} with wide spacing`);
        // 200 %: half of the size of a window of 1280 × 1024.
        await dialog.page.evaluate(() => document.documentElement.style.setProperty("font-size", "200%"));
        await dialog.page.setViewportSize({ width: 1280, height: 1024 });
        await check(`${language} ${step} at 200 %`);
        await dialog.page.evaluate(() => document.documentElement.style.removeProperty("font-size"));
      });
    });
  }

  test("primary button and progress stay visible with forced colours", async () => {
    await dialog.page.emulateMedia({ forcedColors: "active" });
    const styleOf = (selector: string) =>
      dialog.page.locator(selector).evaluate((element) => {
        const { backgroundColor, color, borderTopColor } = getComputedStyle(element);
        return { backgroundColor, color, borderTopColor };
      });
    await dialog.choose();
    const primary = await styleOf("dialog.main button.primary");
    const secondary = await styleOf("dialog.main footer button.secondary");
    const { backgroundColor } = await styleOf("dialog.main footer");
    assert.notEqual(primary.backgroundColor, secondary.backgroundColor);
    assert.notEqual(primary.backgroundColor, backgroundColor);
    assert.notEqual(primary.backgroundColor, primary.color);
    await saveScreenshot(dialog.page, "en-choose-forced-colors");
    await dialog.assertAccessible();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    const bar = await styleOf("dialog.main progress");
    assert.notEqual(bar.borderTopColor, bar.backgroundColor);
    await saveScreenshot(dialog.page, "en-running-forced-colors");
    await dialog.assertAccessible();
  });

  test("status of a closed, running export can be placed in the page, and opens the dialog", async () => {
    const { page } = dialog;
    const status = page.locator("complete-review-status");
    const box = status.locator(".status");
    assert.equal(await box.isVisible(), false);
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    // The dialog shows it.
    assert.equal(await box.isVisible(), false);
    await dialog.press("Continue in the background");
    await box.getByText(/Saving the audit bundle: [1-9]\d?%/).waitFor();
    const share = Number(await box.locator("progress").evaluate((bar) => (bar as HTMLProgressElement).value));
    assert.ok(share > 0 && share < 1, `${share}`);
    await saveScreenshot(page, "en-status");
    await page.setViewportSize({ width: 320, height: 568 });
    await box.scrollIntoViewIfNeeded();
    await saveScreenshot(page, "en-status-320x568");
    await dialog.assertAccessible();
    await dialog.press("Show");
    await dialog.title("Saving the audit bundle");
    assert.equal(await box.isVisible(), false);
    await dialog.press("Continue in the background");
    // The focus is back where it was.
    assert.equal(await box.getByRole("button").evaluate((button) => button.matches(":focus")), true);
    await demo.world.do("release");
    await box.getByText("The audit bundle is saved").waitFor();
    await dialog.assertAccessible();
    await dialog.press("Show");
    await dialog.title("Saved to cloud storage");
    await dialog.press("Close");
    // The user has seen it.
    await dialog.event("closed").nth(2).waitFor();
    assert.equal(await box.isVisible(), false);
  });

  test("status of an element that is added later, or named by `for`, is shown", async () => {
    await dialog.page.evaluate(() => {
      const status = document.querySelector("complete-review-status");
      status?.setAttribute("for", "later");
      const element = document.querySelector("complete-review");
      element?.remove();
      if (element) element.id = "later";
      document.body.append(element ?? "");
    });
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    await dialog.press("Continue in the background");
    await dialog.text(/Saving the audit bundle: \d+%/);
    // Of another element, it shows nothing.
    await dialog.page.evaluate(() => document.querySelector("complete-review-status")?.setAttribute("for", "events"));
    assert.equal(await dialog.page.locator("complete-review-status .status").isVisible(), false);
  });
});
