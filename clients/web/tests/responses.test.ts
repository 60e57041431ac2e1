// Responses of proxies and other programs, in a browser.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import type { HttpRow } from "../../typescript/tests/http-server.js";
import { root } from "../../typescript/tests/world.js";
import { openPage, startBrowser } from "./browser.js";
import { startDemo } from "./demo.js";

/** The largest body that the browser's test tools pass on. */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

const shared = JSON.parse(await readFile(join(root, "clients/hostile-server.json"), "utf8")) as {
  export: string;
  http: HttpRow[];
};

test("responses of other programs are explained in a browser", async () => {
  const demo = await startDemo();
  const browser = await startBrowser();
  const { page, close } = await openPage(browser, demo.pageUrl);
  try {
    for (const row of shared.http) {
      if (!(row.protocols ?? ["grpc-web"]).includes("grpc-web") || (row.message_bytes ?? 0) > MAX_BODY_BYTES) continue;
      // A browser follows redirects by itself.
      if (row.status === 301) continue;
      const type = row.is_grpc ? { "content-type": "application/grpc-web+proto" } : {};
      const headers = {
        "access-control-allow-origin": "*",
        "access-control-expose-headers": "*",
        ...row.headers,
        ...type,
      };
      const trailers = Object.entries(row.trailers ?? {}).map(([name, value]) => `${name}: ${value}\r\n`);
      const text = Buffer.from(trailers.join(""));
      const frame = Buffer.concat([Buffer.from([0x80, 0, 0, 0, text.byteLength]), text]);
      const content = row.body_base64 ? Buffer.from(row.body_base64, "base64") : Buffer.from(row.body ?? "");
      const body = row.is_grpc ? Buffer.concat([content, frame]) : content;
      await page.route("**/tara.export.v1.ExportService/*", (route) =>
        route.fulfill({ status: row.status, headers, body }),
      );
      const failure = await page.evaluate(
        async ({ name, isRetried }) => {
          const { connect } = await import("/complete-review.js" as string);
          const element = document.querySelector("complete-review");
          const policy = isRetried ? { progressTimeoutMs: 1000, minDelayMs: 50 } : {};
          try {
            await connect(element?.getAttribute("server") ?? "", { policy })
              .watch(name)
              .result();
          } catch (error) {
            const { reason, message, cause } = error as {
              reason?: string;
              message: string;
              cause?: { reason?: string };
            };
            return { reason, message, cause: cause?.reason };
          }
          return undefined;
        },
        { name: shared.export, isRetried: row.retried },
      );
      await page.unroute("**/tara.export.v1.ExportService/*");
      assert.ok(failure, row.about);
      assert.equal(failure.reason, row.retried ? "LOST_CONTACT" : row.reason, `${row.about}: ${failure.message}`);
      if (row.retried) assert.equal(failure.cause, row.reason);
      for (const text of row.error_contains) assert.ok(failure.message.includes(text), `${text}: ${failure.message}`);
    }
  } finally {
    await close();
    await browser.close();
    await demo.stop();
  }
});
