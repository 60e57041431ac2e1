/** A parsed address of a server. */
export interface Address {
  /** The base URL of calls, without a slash at its end. */
  url: string;
  /** Whether calls use TLS. */
  isTls: boolean;
  /** The host without brackets. */
  host: string;
  port: number;
  /** The path of a Unix socket. */
  socketPath?: string;
}

/**
 * Parses `host:port`, a URL, `dns:///host:port` or `unix:PATH`. `tls` is for addresses without `http://` and
 * `https://`. Throws a TypeError.
 */
export function parseAddress(server: string, tls: boolean): Address {
  const [, resolver, rest = ""] = /^(dns|unix):(.*)$/s.exec(server) ?? [];
  // A host can have the name of a resolver: unix:8080.
  if (resolver === undefined || /^\d+$/.test(rest)) return ofUrl(server, /^[a-z][a-z0-9+.-]*:\/\//i.test(server), tls);
  const scheme = tls ? "https" : "http";
  if (resolver === "dns") {
    // Node has no resolver that asks another name server.
    const host = rest.replace(/^\/\/\//, "");
    if (/[/?#]/.test(host)) throw new TypeError(`the server must be dns:///host:port, not ${JSON.stringify(server)}`);
    const withPort = /:\d+$/.test(host) ? host : `${host}:443`;
    return { ...ofUrl(`${scheme}://${withPort}`, true, tls) };
  }
  const socketPath = rest.startsWith("///") ? rest.slice(2) : rest;
  if (socketPath === "" || socketPath.startsWith("//")) {
    throw new TypeError(`the server must be unix:PATH or unix:///PATH, not ${JSON.stringify(server)}`);
  }
  return { url: `${scheme}://localhost`, isTls: tls, host: "localhost", port: 0, socketPath };
}

function ofUrl(server: string, hasScheme: boolean, tls: boolean): Address {
  // Never in a message: it can have a password.
  if (server.includes("@")) throw new TypeError("the server must have no user and password: pass a token instead");
  const text = hasScheme ? server : `${tls ? "https" : "http"}://${server}`;
  const shown = JSON.stringify(server);
  if (!URL.canParse(text) || /\s/.test(server)) {
    const hint = /^[0-9a-f:.]*::[0-9a-f:.]*$/i.test(server) ? "; write an IPv6 address in brackets, [::1]:8080" : "";
    throw new TypeError(`the server must be host:port, a URL, dns:///host:port or unix:PATH, not ${shown}${hint}`);
  }
  const { protocol, hostname, port, pathname, search, hash, host } = new URL(text);
  if (!["http:", "https:"].includes(protocol) || hostname === "") {
    throw new TypeError(
      `the server must be host:port, an http or https URL, dns:///host:port or unix:PATH, not ${shown}`,
    );
  }
  if (search !== "" || hash !== "" || (!hasScheme && pathname !== "/")) {
    throw new TypeError(`the server must have no query and no fragment: ${shown}`);
  }
  const isTls = protocol === "https:";
  const url = `${protocol}//${host}${pathname.replace(/\/+$/, "")}`;
  const plainHost = hostname.replace(/^\[|\]$/g, "");
  return { url, isTls, host: plainHost, port: Number(port || (isTls ? 443 : 80)) };
}

/** Whether the host is this machine: `localhost`, its subdomains, 127.0.0.0/8 or ::1. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/\.$/, "");
  return name === "localhost" || name.endsWith(".localhost") || /^127(\.\d{1,3}){3}$/.test(name) || name === "::1";
}
