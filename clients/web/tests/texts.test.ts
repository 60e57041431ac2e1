// The message catalogue.
import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";

import { en, type Key } from "../src/messages/en.js";
import { catalogues, supportedLocale, Texts } from "../src/messages/texts.js";

/** All forms of a text. */
function forms(message: string | object): string[] {
  return typeof message === "string" ? [message] : Object.values(message);
}

function placeholders(text: string): string[] {
  return [...text.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => name).sort();
}

suite("the message catalogue", () => {
  for (const [language, messages] of Object.entries(catalogues)) {
    test(`${language} has every text, with the same placeholders`, () => {
      assert.deepEqual(Object.keys(messages).sort(), Object.keys(en).sort());
      for (const key of Object.keys(en) as Key[]) {
        const [expected = ""] = forms(en[key]).map((text) => placeholders(text).join());
        for (const text of forms(messages[key])) {
          assert.equal(placeholders(text).join(), expected, `${language} ${key}`);
          assert.match(text, /\S/, key);
          assert.equal(/[{}]/.test(text.replace(/\{\w+\}/g, "")), false, `${language} ${key}: ${text}`);
        }
      }
    });

    test(`${language} has the forms of its numbers`, () => {
      const { pluralCategories } = new Intl.PluralRules(language).resolvedOptions();
      for (const [key, message] of Object.entries(messages)) {
        if (typeof message === "string") continue;
        for (const category of Object.keys(message)) {
          assert.ok((pluralCategories as string[]).includes(category), `${language} ${key}: ${category} is never used`);
        }
        const count = pluralCategories.includes("one") ? ["one", "other"] : ["other"];
        assert.deepEqual(Object.keys(message).sort(), count, `${language} ${key}`);
      }
    });
  }

  test("is translated", () => {
    for (const [language, messages] of Object.entries(catalogues)) {
      if (language === "en") continue;
      const same = (Object.keys(en) as Key[]).filter((key) => forms(messages[key]).join() === forms(en[key]).join());
      // The same word in both languages.
      const allowed = ["done.provisional", "choose.destination"];
      assert.deepEqual(
        same.filter((key) => !allowed.includes(key)),
        [],
        language,
      );
    }
  });

  test("of a page replaces single texts", () => {
    const texts = new Texts("de", { "action.close": "Fertig" });
    assert.deepEqual([texts.text("action.close"), texts.text("action.back")], ["Fertig", "Zurück"]);
  });

  test("is the only place with visible text", async () => {
    const files = (await readdir("src", { recursive: true })).filter((path) => /\.ts$/.test(path));
    const found: string[] = [];
    for (const path of files) {
      if (path.startsWith("messages/")) continue;
      const source = (await readFile(join("src", path), "utf8"))
        .replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, "")
        .replace(/\bclass(Name)?(:| =) [^,};]*/g, "")
        // Faults of the page's code, for its developer.
        .replace(/(new (Type)?Error|console\.\w+|extends TaraExportError|new TaraExportError)\([^;]*;/g, "");
      for (const [, text = ""] of source.matchAll(/["`]([^"`\n]*)["`]/g)) {
        const words = text.replace(/\$\{[^}]*\}/g, "");
        if (/[A-Za-z]{2,} [a-z]{2,}|^[A-Z][a-z]+$|[.…!?]$/.test(words) && !allowedLiterals.test(words)) {
          found.push(`${path}: ${text}`);
        }
      }
    }
    assert.deepEqual(found, []);
  });
});

/** SVG, keys of the catalogue, names of errors, and a text of the server that is compared. */
const allowedLiterals = /^[MmLlHhVvAazZ0-9. -]+$|^(Abort|Type)Error$|^[a-z.]+\.$|^This server has no S3 bucket\.$/;

test("sizes, shares and dates are formatted for the language", () => {
  const english = new Texts("en");
  assert.deepEqual(
    [0, 1, 999, 1000, 9949, 9950, 999_499, 999_500].map((size) => english.bytes(size).replaceAll("\u00a0", " ")),
    ["0 bytes", "1 byte", "999 bytes", "1.0 kB", "9.9 kB", "10 kB", "999 kB", "1.0 MB"],
  );
  assert.deepEqual(
    [1, 12, 1234].map((count) => english.files(count)),
    ["1 file", "12 files", "1,234 files"],
  );
  assert.deepEqual([english.percent(999, 1000), english.percent(5, 5), english.percent(0, 0)], ["99%", "100%", "0%"]);
  const size = (locale: string) => new Texts(locale).bytes(1_400_000).replace(/\s/g, " ");
  assert.deepEqual(["en", "de", "de-CH", "fr", "es", "ja"].map(size), [
    "1.4 MB",
    "1,4 MB",
    "1.4 MB",
    "1,4 Mo",
    "1,4 MB",
    "1.4 MB",
  ]);
  assert.equal(new Texts("de").files(1234), "1.234 Dateien");
  assert.equal(new Texts("ja").files(1), "1 個のファイル");
  assert.match(new Texts("fr").time(new Date("2026-11-30T12:00:00Z")), /novembre 2026/);
});

test("language is the first with texts, with its region", () => {
  assert.equal(supportedLocale(["it", "DE-ch", "fr"]), "de-CH");
  assert.equal(supportedLocale(["", "not a tag", "constructor", "it"]), "en");
  assert.equal(new Texts("de-CH").language, "de");
});
