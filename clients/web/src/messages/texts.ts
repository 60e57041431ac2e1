import { de } from "./de.js";
import { en, type Key, type Messages, type Plural, type Values } from "./en.js";
import { es } from "./es.js";
import { fr } from "./fr.js";
import { ja } from "./ja.js";

/** The languages of the dialog. */
export const catalogues = { de, en, es, fr, ja } as const satisfies Record<string, Messages>;

type Language = keyof typeof catalogues;

/** The values of a text, or nothing if it has no placeholders. */
type Arguments<K extends Key> = keyof Values<K> extends never ? [] : [values: Values<K>];

const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

/** The texts, numbers and dates of one language. */
export class Texts {
  /** The language of the texts. */
  readonly language: Language;
  private readonly messages: Messages;
  private readonly plurals: Intl.PluralRules;
  private readonly numbers: Intl.NumberFormat;

  /**
   * `locale` is a valid language tag of a language in `catalogues`; its region selects the format of numbers and dates.
   * `replaced` are the page's own texts.
   */
  constructor(
    readonly locale: string,
    replaced: Partial<Messages> = {},
  ) {
    this.language = languageOf(locale) ?? "en";
    this.messages = { ...catalogues[this.language], ...replaced };
    this.plurals = new Intl.PluralRules(locale);
    this.numbers = new Intl.NumberFormat(locale);
  }

  /** The text of a key. Numbers are formatted for the language. */
  text<K extends Key>(key: K, ...[values]: Arguments<K>): string {
    return this.parts(key, (values ?? {}) as Record<string, string | number>).join("");
  }

  /** The text of a key in which some values are elements. */
  rich<K extends Key>(key: K, values: { readonly [Name in keyof Values<K>]: string | Node }): (string | Node)[] {
    return this.parts(key, values as Record<string, string | Node>) as (string | Node)[];
  }

  private parts<Value>(key: Key, values: Record<string, Value>): (string | Value)[] {
    // The odd parts are the names of placeholders.
    return this.pattern(key, values)
      .split(/\{(\w+)\}/)
      .map((part, index) => {
        if (index % 2 === 0) return part;
        const value = values[part];
        return typeof value === "number" ? this.numbers.format(value) : (value ?? "");
      });
  }

  private pattern(key: Key, { count }: Record<string, unknown>): string {
    const message: string | Plural = this.messages[key];
    return typeof message === "string" ? message : (message[this.plurals.select(Number(count))] ?? message.other);
  }

  /** Formats a size: `1 byte`, `258 kB`, `1.4 GB`. A kilobyte has 1000 bytes, as in file managers. */
  bytes(sizeBytes: number | bigint): string {
    let size = Number(sizeBytes);
    let unit = 0;
    // A value that would be rounded to 1000 uses the next unit.
    while (size >= (unit === 0 ? 1000 : 999.5) && unit < units.length - 1) {
      size /= 1000;
      unit += 1;
    }
    const digits = unit > 0 && size < 9.95 ? 1 : 0;
    const format = new Intl.NumberFormat(this.locale, {
      style: "unit",
      unit: units[unit] ?? "byte",
      unitDisplay: unit === 0 ? "long" : "short",
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
    // A line does not end between the number and its unit.
    return format.format(size).replaceAll(" ", "\u00a0");
  }

  /** Formats a number of files: `1 file`, `12 files`. */
  files(count: number): string {
    return this.text("files", { count });
  }

  /** Formats a share, rounded down so that 100% means complete. */
  percent(done: number, total: number): string {
    const share = total > 0 ? Math.floor((Math.min(done, total) / total) * 100) / 100 : 0;
    return new Intl.NumberFormat(this.locale, { style: "percent" }).format(share);
  }

  /** Joins names: `a.docx and b.docx`. */
  list(names: readonly string[]): string {
    return new Intl.ListFormat(this.locale).format(names);
  }

  /** Formats a date and time in the user's time zone. */
  time(date: Date): string {
    return new Intl.DateTimeFormat(this.locale, { dateStyle: "long", timeStyle: "medium" }).format(date);
  }
}

/** The first of these language tags for which there is a catalogue, or `en`. Invalid tags are skipped. */
export function supportedLocale(tags: readonly string[]): string {
  for (const tag of tags) {
    try {
      const [locale] = Intl.getCanonicalLocales(tag);
      if (locale && languageOf(locale)) return locale;
    } catch {
      // The tag is not valid.
    }
  }
  return "en";
}

function languageOf(locale: string): Language | undefined {
  const [language = ""] = locale.split("-");
  return Object.hasOwn(catalogues, language) ? (language as Language) : undefined;
}
