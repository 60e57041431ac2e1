/** Characters that are invisible, end a line or reorder text. */
export const misleading = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** Misleading characters and control characters. */
export const unprintable = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;

const allUnprintable = new RegExp(unprintable, "gu");
/** Maximum number of characters of a quoted text. */
const MAX_QUOTED = 200;

/**
 * Makes a text from the server safe to print on a terminal: escapes control characters and characters that are
 * invisible or reorder text as `\u{1b}`.
 */
export function printable(text: string): string {
  return text.replace(allUnprintable, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** Quotes a text from the server for a message. */
export function quoted(text: string): string {
  const shown = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
  return `"${printable(shown)}"`;
}
