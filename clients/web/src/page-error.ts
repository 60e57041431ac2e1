import type { Key } from "./messages/en.js";

/** An error of the page's server that the dialog describes. */
export class PageError extends Error {
  constructor(
    readonly key: Key & ("failed.page" | "failed.page.noName"),
    readonly values: { status: string } = { status: "" },
  ) {
    super(key);
  }
}

/** The page's server cannot be reached. */
export class NetworkError extends Error {
  constructor(override readonly cause: unknown) {
    super(cause instanceof Error ? cause.message : String(cause));
  }
}
