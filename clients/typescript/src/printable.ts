/** Characters that are invisible, end a line or change the order of others. */
export const misleading = /[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/;

/** These, and what a terminal obeys. */
export const unprintable = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/u;

const allUnprintable = new RegExp(unprintable, "gu");
/** The most characters of a server's text in a message. */
const MAX_QUOTED = 200;

/**
 * A server's text, safe to print on a terminal: control characters, which a terminal obeys, and characters that
 * reorder text are escaped as `\u{1b}`.
 */
export function printable(text: string): string {
  return text.replace(allUnprintable, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`);
}

/** A server's text in a message. */
export function quoted(text: string): string {
  const shown = text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text;
  return `"${printable(shown)}"`;
}
