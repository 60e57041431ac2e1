// Serves the demo page and acts as the back end of a small review application:
//   npm run demo -- --server http://127.0.0.1:8080 --port 5173
//
// If the server requires tokens: TARA_EXPORT_TOKEN=… npm run demo. The page gets the token from this program, as from
// an application that its user has logged in to.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import {
  connect,
  Destination,
  fromJson,
  PreviewExportResponseSchema,
  previewRequestOf,
  StartExportRequestSchema,
  toJson,
} from "tara-export/node";

const { values } = parseArgs({
  options: {
    server: { type: "string", default: process.env.TARA_EXPORT_SERVER ?? "http://127.0.0.1:8080" },
    port: { type: "string", default: "5173" },
  },
});
const server = values.server.includes("://") ? values.server : `http://${values.server}`;
const token = process.env.TARA_EXPORT_TOKEN || undefined;
const client = connect(server, { token });
const file = (path) => new URL(path, import.meta.url);
const example = JSON.parse(await readFile(file("../../../examples/request.json"), "utf8"));
const exampleRequest = fromJson(StartExportRequestSchema, example);

/** The endpoints of the back end: previews the review and starts its export. */
const api = {
  "GET /api/preview": async () =>
    toJson(PreviewExportResponseSchema, await client.preview(previewRequestOf(exampleRequest))),
  "POST /api/start": async ({ request_id: requestId, destination, notify_emails: notifyEmails }) => {
    const chosen = { requestId, destination: Destination[destination.slice(12)], notifyEmails };
    const run = client.export({ ...exampleRequest, ...chosen });
    // After the first event, the export is accepted and continues without this process.
    for await (const update of run) if (update.type === "event") break;
    return { name: run.name };
  },
  // An application returns a token with the roles of its signed-in user, which expires soon.
  "GET /api/token": async () => ({ token }),
};

const pages = {
  "/": ["index.html", "text/html"],
  "/demo.js": ["demo.js", "text/javascript"],
  "/demo.css": ["demo.css", "text/css"],
  "/complete-review.js": ["../dist/complete-review.js", "text/javascript"],
  "/complete-review.js.map": ["../dist/complete-review.js.map", "application/json"],
};

const json = {
  "/settings.json": { server, needsToken: token !== undefined },
  "/review.json": toJson(StartExportRequestSchema, exampleRequest).review,
};

const http = createServer(async (request, response) => {
  const { pathname } = new URL(request.url ?? "/", "http://page");
  const send = (status, type, body) =>
    response.writeHead(status, { "content-type": `${type}; charset=utf-8` }).end(body);
  try {
    const handler = api[`${request.method} ${pathname}`];
    if (handler) send(200, "application/json", JSON.stringify(await handler(await readBody(request))));
    else if (pathname in json) send(200, "application/json", JSON.stringify(json[pathname]));
    else if (pathname in pages) send(200, pages[pathname][1], await readFile(file(pages[pathname][0])));
    else send(404, "text/plain", "Not found\n");
  } catch (error) {
    send(502, "text/plain", `${error.message}\n`);
  }
});

async function readBody(request) {
  let body = "";
  for await (const piece of request) {
    body += piece;
    if (body.length > 100_000) throw new Error("The request is too large.");
  }
  return body ? JSON.parse(body) : {};
}

/** Logs a hint if the service is not reachable or does not allow the page. */
async function checkService(origin) {
  const headers = { origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type" };
  try {
    const url = `${server}/tara.export.v1.ExportService/PreviewExport`;
    const response = await fetch(url, { method: "OPTIONS", headers });
    const allowed = response.headers.get("access-control-allow-origin");
    if (allowed === "*" || allowed === origin) return;
    console.log(`The service at ${server} does not allow this page. Start it with\n  CORS_ALLOWED_ORIGINS=${origin}`);
  } catch {
    console.log(`Cannot reach ${server}. Start it with\n  CORS_ALLOWED_ORIGINS=${origin} tara-export serve`);
  }
}

http.listen(Number(values.port), "127.0.0.1", async () => {
  const origin = `http://127.0.0.1:${http.address().port}`;
  console.log(`The demo is at ${origin}`);
  await checkService(origin);
});
