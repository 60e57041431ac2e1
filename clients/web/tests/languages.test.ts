// The languages of the dialog, in a browser.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";

import type { Browser } from "playwright-core";

import { startBrowser } from "./browser.js";
import { type Demo, startDemo } from "./demo.js";
import { DialogPage } from "./dialog-page.js";

const titles = {
  de: "Wo soll das Prüfpaket gespeichert werden?",
  en: "Where should the audit bundle go?",
  es: "¿Dónde guardar el paquete de auditoría?",
  fr: "Où enregistrer le dossier d’audit ?",
  ja: "監査パッケージの保存先を選んでください",
};

/** The texts and names that the dialog and the status element show, without those inside of the marks ⟦ and ⟧. */
function unmarkedTexts(): string[] {
  const found: string[] = [];
  const add = (text: string) => {
    const rest = text.replace(/⟦[^⟦⟧]*⟧/g, "").trim();
    if (rest) found.push(rest);
  };
  for (const element of document.querySelectorAll("complete-review, complete-review-status")) {
    const walker = document.createTreeWalker(element.shadowRoot as Node, NodeFilter.SHOW_ALL);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node instanceof Text && node.parentElement?.localName !== "style") {
        // Values: paths, sizes, digests, and the server's own text, which has a language.
        if (
          !node.parentElement?.closest("code, .path, .size, .eyebrow, [lang=en]:not(dialog, .status, .visually-hidden)")
        )
          add(node.data);
      } else if (node instanceof Element) {
        for (const name of ["aria-label", "placeholder", "alt"]) add(node.getAttribute(name) ?? "");
      }
    }
  }
  return found;
}

suite("languages", () => {
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
  beforeEach(() => demo.world.reset());
  afterEach(() => dialog.close());

  for (const [language, title] of Object.entries(titles)) {
    test(`${language} is the page's language, and is sent to the server`, async () => {
      dialog = await DialogPage.open(browser, demo);
      await dialog.language(language);
      const [request] = await Promise.all([
        dialog.page.waitForRequest("**/PreviewExport"),
        dialog.press("Complete review"),
      ]);
      await dialog.title(title);
      assert.equal(await request.headerValue("accept-language"), language);
      assert.equal(await dialog.page.locator("dialog.main").getAttribute("lang"), language);
      await dialog.assertAccessible();
    });
  }

  test("is the browser's if the page has none, and the back end gets it", async () => {
    dialog = await DialogPage.open(browser, demo, { locale: "fr-CA" });
    await dialog.page.evaluate(() => document.documentElement.removeAttribute("lang"));
    await dialog.page.getByLabel("the back end of this page").check();
    const [request] = await Promise.all([
      dialog.page.waitForRequest("**/api/preview"),
      dialog.press("Complete review"),
    ]);
    await dialog.title(titles.fr);
    assert.equal(await request.headerValue("accept-language"), "fr-CA");
  });

  test("can be changed while the dialog is open", async () => {
    dialog = await DialogPage.open(browser, demo);
    await dialog.choose();
    await dialog.page.getByText("Save on the server only", { exact: true }).click();
    await dialog.page.evaluate(() => document.querySelector("complete-review")?.setAttribute("lang", "es"));
    await dialog.title(titles.es);
    // The choice is kept.
    assert.ok(await dialog.page.getByRole("radio", { name: "Guardar solo en el servidor" }).isChecked());
    await dialog.page.evaluate(() => document.querySelector("complete-review")?.removeAttribute("lang"));
    await dialog.title(titles.en);
    await dialog.language("de");
    await dialog.title(titles.de);
  });

  test("reason of an unavailable option that has no translation is shown as it is", async () => {
    dialog = await DialogPage.open(browser, demo);
    await dialog.language("fr");
    // The demo sets its functions when a field has changed.
    await dialog.page.getByLabel("Document name").blur();
    await dialog.page.evaluate(() => {
      const options = [
        { kind: "KIND_S3", available: false, unavailable_reason: "The contract has ended." },
        { kind: "KIND_LOCAL", available: true, recommended: true },
      ];
      const element = document.querySelector("complete-review") as HTMLElement & { preview: unknown };
      element.preview = async () => ({ options });
    });
    await dialog.press("Complete review");
    await dialog.title(titles.fr);
    await dialog.text("Cette option n’est pas disponible. The contract has ended.");
    assert.ok(await dialog.page.getByRole("radio", { name: "Enregistrer dans le stockage cloud" }).isDisabled());
  });

  test("the status follows the page's language", async () => {
    dialog = await DialogPage.open(browser, demo);
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.press("Continue in the background");
    await dialog.text(/Saving the audit bundle: [1-9]\d?%/);
    await dialog.language("de");
    await dialog.text(/Prüfpaket wird gespeichert: [1-9]\d?\s%/);
    await demo.world.do("release");
    await dialog.text("Das Prüfpaket ist gespeichert");
  });

  test("the server's reasons are translated, and its text is a detail", async () => {
    dialog = await DialogPage.open(browser, demo);
    await dialog.language("de");
    await dialog.page.getByLabel("If S3 is not available").selectOption("none");
    await dialog.press("Complete review");
    await dialog.title(titles.de);
    await dialog.text("Die Prüfung nennt keine Richtlinien.");
    await demo.world.do("s3 down");
    await dialog.press("Weiter");
    await dialog.page.locator("dialog.confirm[open]").waitFor();
    await dialog.press("Im Cloudspeicher speichern");
    await dialog.title("Es wurde kein Paket erstellt");
    await dialog.text("Der Server hat keinen Zugriff auf den Cloudspeicher.");
    assert.match((await dialog.page.locator("code[lang=en]").textContent()) ?? "", /STORE_DENIED/);
    await dialog.assertAccessible();
  });

  test("every visible text is in the catalogue", async () => {
    dialog = await DialogPage.open(browser, demo);
    const { page } = dialog;
    // Marks each text of the catalogue.
    await page.evaluate(async () => {
      const { englishMessages } = await import("/complete-review.js" as string);
      const mark = (text: string) => `⟦${text.replace(/\{\w+\}/g, "⟧$&⟦")}⟧`;
      const messages = Object.entries(englishMessages as Record<string, string | Record<string, string>>).map(
        ([key, value]) => [
          key,
          typeof value === "string"
            ? mark(value)
            : Object.fromEntries(Object.entries(value).map(([form, text]) => [form, mark(text)])),
        ],
      );
      Object.assign(document.querySelector("complete-review") ?? {}, { messages: Object.fromEntries(messages) });
    });
    /** What is no text of the catalogue: numbers, sizes, times and data of this test. */
    const data =
      /^[\s·,:%().0-9]*((bytes?|[kM]B|AM|PM|at|November|December|large\.docx|s3:\/\/\S*|Incident_report\S*)[\s·,:%().0-9]*)*$/;
    const assertMarked = async (step: string) => {
      const texts = await page.evaluate(unmarkedTexts);
      assert.deepEqual(
        texts.filter((text) => !data.test(text)),
        [],
        step,
      );
    };
    const pressMarked = (name: string) => page.getByRole("button", { name: `⟦${name}⟧`, exact: true }).click();
    const titleMarked = (name: string) => page.getByRole("heading", { name: `⟦${name}⟧`, level: 2 }).waitFor();
    await dialog.press("Complete review");
    await titleMarked("Where should the audit bundle go?");
    await assertMarked("the choice");
    await demo.world.do("hold");
    await pressMarked("Continue");
    await titleMarked("Save this review to cloud storage?");
    await assertMarked("the confirmation");
    await pressMarked("Save to cloud storage");
    await page.locator("li.stored").first().waitFor();
    await assertMarked("the running export");
    await pressMarked("Continue in the background");
    await page.getByRole("button", { name: "⟦Show⟧" }).waitFor();
    await assertMarked("the status");
    await demo.world.do("s3 down");
    await demo.world.do("release");
    await dialog.event("completed").waitFor();
    await pressMarked("Show");
    await titleMarked("Saved on the server for now");
    await assertMarked("the provisional result");
    await demo.world.do("s3 up");
    await titleMarked("Saved to cloud storage");
    await assertMarked("the result");
  });
});
