import { type Address, isLoopback } from "./address.js";
import { withTimeout } from "./policy.js";

/** A bearer token, or a function that returns it. The function is called before every call. */
export type Token = string | (() => string | Promise<string>);

/** How a token is used. */
export interface TokenOptions {
  /**
   * The token of every call. A function is called before every call, and again if the server refuses the token.
   * If it throws, the call fails with its error.
   */
  token?: Token | undefined;
  /**
   * Sends the token without TLS to other machines too. Everyone on the network can read it there, unless another
   * layer encrypts the connection. Default: false.
   */
  allowInsecureToken?: boolean | undefined;
}

const MAX_TOKEN_LENGTH = 16 * 1024;
/** The longest time of a function. */
const TIMEOUT_MS = 30_000;
const hasTimedOut = () => new Error(`the token's function did not return within ${TIMEOUT_MS / 1000} s`);
const RULE = `a token has 1 to ${MAX_TOKEN_LENGTH} visible ASCII characters, without whitespace`;

/** Errors of the callers' own functions. They are neither converted nor retried. */
const ownErrors = new WeakSet<object>();

/** Throws the failure if the caller's token function threw it. */
export function throwOwn(failure: unknown): void {
  for (let error = failure; error instanceof Error; error = error.cause) if (ownErrors.has(error)) throw error;
}

/** The token of calls. It is private, so that it is not shown with the client. */
export class Authorization {
  readonly #token: Token | undefined;

  /** Throws a TypeError if the token is not valid. */
  constructor(token: Token | undefined) {
    if (token !== undefined && typeof token !== "function") checkToken(token);
    this.#token = token;
  }

  /** Whether another token may help if the server refuses one. */
  get canRefresh(): boolean {
    return typeof this.#token === "function";
  }

  /** The header of the next call. Throws the error of the token's function. */
  async header(): Promise<string | undefined> {
    if (this.#token === undefined) return undefined;
    if (typeof this.#token === "string") return `Bearer ${this.#token}`;
    try {
      const token = Promise.resolve(this.#token());
      return `Bearer ${checkToken(await withTimeout(TIMEOUT_MS, token, hasTimedOut))}`;
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown));
      ownErrors.add(error);
      throw error;
    }
  }
}

/** Throws a TypeError if the token would be sent without TLS to another machine. */
export function checkInsecureToken(address: Address, { token, allowInsecureToken }: TokenOptions): void {
  const { url, host, isTls, socketPath } = address;
  if (token === undefined || allowInsecureToken || isTls || socketPath !== undefined || isLoopback(host)) return;
  throw new TypeError(
    `${url} is another machine, and without TLS everyone on the network can read the token: use an https:// URL, ` +
      "or allowInsecureToken if another layer encrypts the connection",
  );
}

function checkToken(token: unknown): string {
  if (typeof token !== "string") throw new TypeError(`a token must be a string, not ${typeof token}`);
  if (token.length > MAX_TOKEN_LENGTH || !/^[\x21-\x7e]+$/.test(token)) throw new TypeError(RULE);
  return token;
}
