// The dialog states only what is true: when the page can be closed, what was saved, and where.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, suite, test } from "node:test";

import type { Browser, Request, Route } from "playwright-core";
import { connect, Destination, fromJson, StartExportRequestSchema } from "tara-export/node";

import { openPage, startBrowser } from "./browser.js";
import { type Demo, startDemo } from "./demo.js";
import { DialogPage } from "./dialog-page.js";

const MAY_CLOSE = "You can close this page. The export continues.";
const KEEP_OPEN = "Keep this page open until the server has received everything.";
const MIB = 1024 * 1024;

/** A gRPC-Web response with this status, and a `google.rpc.ErrorInfo` with this reason. */
function status(code: number, reason: string) {
  const field = (number: number, content: Buffer | string) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, content.length]), Buffer.from(content)]);
  const info = Buffer.concat([field(1, reason), field(2, "tara.export.v1")]);
  const any = Buffer.concat([field(1, "type.googleapis.com/google.rpc.ErrorInfo"), field(2, info)]);
  const details = Buffer.concat([Buffer.from([8, code]), field(3, any)]).toString("base64");
  const text = `grpc-status: ${code}\r\ngrpc-message: of a test\r\ngrpc-status-details-bin: ${details}\r\n`;
  const trailers = Buffer.from(text);
  const body = Buffer.concat([Buffer.from([0x80, 0, 0, trailers.length >> 8, trailers.length & 255]), trailers]);
  const headers = {
    "access-control-allow-origin": "*",
    "access-control-expose-headers": "*",
    "content-type": "application/grpc-web+proto",
  };
  return { status: 200, headers, body };
}

/** Holds the requests to this path until they are released. */
async function held(dialog: DialogPage, path: string, isHeld: (index: number) => boolean = () => true) {
  const routes: Route[] = [];
  let count = 0;
  let isReleased = false;
  await dialog.page.route(path, async (route) => {
    if (isReleased || !isHeld(count++)) await route.continue();
    else routes.push(route);
  });
  return async () => {
    isReleased = true;
    for (const route of routes) await route.continue().catch(() => {});
  };
}

suite("the dialog is truthful", () => {
  let demo: Demo;
  let browser: Browser;
  let dialog: DialogPage;
  /** The paths of the page's calls. */
  let calls: string[];

  before(async () => {
    demo = await startDemo();
    browser = await startBrowser();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });
  beforeEach(async () => {
    await demo.world.reset();
    dialog = await DialogPage.open(browser, demo);
    calls = [];
    dialog.page.on("request", (request: Request) => {
      const [, method] = /ExportService\/(\w+)$/.exec(request.url()) ?? [];
      if (method && request.method() === "POST") calls.push(method);
    });
  });
  afterEach(async () => {
    await dialog.close();
    assert.deepEqual(dialog.errors, []);
  });

  /** The page follows with timeouts that a test can wait for. */
  const followImpatiently = () =>
    dialog.page.evaluate(async () => {
      const { connect } = await import("/complete-review.js" as string);
      const element = document.querySelector("complete-review") as HTMLElement & { client: unknown };
      const policy = { progressTimeoutMs: 500, idleTimeoutMs: 1500, minDelayMs: 50, deadlineMs: 500 };
      element.client = connect(element.getAttribute("server"), { policy });
    });
  const reloadAccepted = async () => {
    dialog.page.once("dialog", (asked) => asked.accept());
    await dialog.page.reload();
    await dialog.page.getByLabel("Document name").fill("Incident report 4711.docx");
  };
  const uploadInterrupted = async (seed: string) => {
    await dialog.chooseLargeFile(9 * MIB, seed);
    await dialog.choose();
    // The first chunk is stored, the second is not.
    await held(dialog, "**/UploadChunk", (index) => index > 0);
    await dialog.save();
    await dialog.text(/Sending large.docx to the server: [1-9]\d?%/);
  };

  test("page can be closed only after the server accepted the export", async () => {
    const release = await held(dialog, "**/StartExport");
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(KEEP_OPEN);
    assert.equal(await dialog.shows(MAY_CLOSE), false);
    const [asked] = await Promise.all([
      dialog.page.waitForEvent("dialog"),
      dialog.page.close({ runBeforeUnload: true }),
    ]);
    assert.equal(asked.type(), "beforeunload");
    await asked.dismiss();
    await release();
    await dialog.text(MAY_CLOSE);
    assert.equal(await dialog.shows(KEEP_OPEN), false);
    // Nothing asks any more.
    await Promise.all([dialog.page.waitForEvent("close"), dialog.page.close({ runBeforeUnload: true })]);
  });

  test("reload during an upload starts no export, and names the file to choose again", async () => {
    const count = await dialog.exportCount();
    await uploadInterrupted("interrupted upload ");
    const first = await dialog.saved();
    assert.equal(first?.phase, "sending");
    await reloadAccepted();
    await dialog.page.unroute("**/UploadChunk");
    await dialog.title("Sending was interrupted");
    await dialog.text("“large.docx” (9.4 MB) was not sent completely.");
    await dialog.assertAccessible();
    calls = [];
    await dialog.press("Choose the file again");
    await dialog.event("choose-files").filter({ hasText: "large.docx" }).waitFor();
    // Without the file, the choice says that it is missing.
    await dialog.choose();
    await dialog.text("“large.docx” (9.4 MB) was not sent completely, and is not chosen now.");
    assert.equal(await dialog.exportCount(), count);
    assert.deepEqual(
      calls.filter((method) => method !== "PreviewExport" && method !== "WatchExport"),
      [],
    );
    await dialog.press("Cancel");
    await dialog.chooseLargeFile(9 * MIB, "interrupted upload ");
    await dialog.choose();
    assert.equal(await dialog.shows("is not chosen now"), false);
    calls = [];
    await dialog.save();
    await dialog.title("Saved to cloud storage");
    // The upload continued after the first chunk, and there is one export, under the first id.
    assert.ok(calls.filter((method) => method === "UploadChunk").length < 9, calls.join());
    assert.equal(await dialog.exportCount(), count + 1);
    const name = ((await dialog.event("started").textContent()) ?? "").slice("started: ".length);
    assert.equal(name, `exports/${first?.requestId}`);
    const { artifacts } = await connect(demo.world.serverUrl).getExport(name);
    assert.equal(artifacts.find(({ path }) => path.startsWith("documents/after_"))?.sizeBytes, BigInt(9 * MIB));
  });

  test("reload while a document is read names it too", async () => {
    await dialog.chooseLargeFile(9 * MIB, "interrupted reading ");
    await dialog.choose();
    // The second piece is never read.
    await dialog.page.evaluate(() => {
      const { arrayBuffer } = Blob.prototype;
      let count = 0;
      Blob.prototype.arrayBuffer = function () {
        return count++ < 3 ? arrayBuffer.call(this) : new Promise(() => {});
      };
    });
    await dialog.save();
    await dialog.text(/Reading large.docx: [1-9]\d?%/);
    await dialog.press("Continue in the background");
    await dialog.text(/Sending the review: [1-9]\d?%. Keep this page open./);
    await reloadAccepted();
    await dialog.title("Sending was interrupted");
    await dialog.text("“large.docx” (9.4 MB) was not sent completely.");
  });

  test("damaged saved state is ignored", async () => {
    for (const saved of [
      "{",
      "[]",
      '{"requestId":1,"destination":"s3","phase":"sending"}',
      '{"requestId":"a","destination":"s3","phase":"done"}',
    ]) {
      await dialog.page.evaluate((text) => sessionStorage.setItem("complete-review:demo", text), saved);
      await dialog.page.reload();
      await dialog.choose();
    }
    const lists = '"notifyEmails":3,"files":{"a":1},"large":[null,{"fileName":4},{"fileName":"a.docx","sizeBytes":5}]';
    const id = crypto.randomUUID();
    await dialog.page.evaluate(
      (text) => sessionStorage.setItem("complete-review:demo", text),
      `{"requestId":"${id}","destination":"s3","phase":"sending",${lists}}`,
    );
    await dialog.page.reload();
    await dialog.title("Sending was interrupted");
    await dialog.text("“a.docx” (5 bytes) was not sent completely.");
  });

  test("interrupted export can be discarded", async () => {
    await uploadInterrupted("discarded upload ");
    await reloadAccepted();
    await dialog.title("Sending was interrupted");
    await dialog.press("Discard");
    await dialog.event("cancelled").waitFor();
    assert.equal(await dialog.saved(), undefined);
    await dialog.choose();
    assert.equal(await dialog.shows("is not chosen now"), false);
  });

  test("interrupted export that the server received after all is shown", async () => {
    await dialog.page.getByLabel("the back end of this page").check();
    const release = await held(dialog, "**/api/start");
    await dialog.choose();
    await dialog.save();
    await dialog.text(KEEP_OPEN);
    const requestId = (await dialog.saved())?.requestId;
    await reloadAccepted();
    await dialog.title("Sending was interrupted");
    await dialog.text("Complete the review again to save it.");
    // The request of the first page arrives late.
    const example = fromJson(StartExportRequestSchema, { review: { document_name: "late.docx" } });
    const documents = [{ kind: 1, fileName: "late.txt", content: new TextEncoder().encode("late") }];
    await connect(demo.world.serverUrl)
      .export({ ...example, documents, requestId, destination: Destination.S3 })
      .result();
    await dialog.title("Saved to cloud storage");
    assert.match(await dialog.fact("Location"), /late/);
    await release();
  });

  test("export under another name of the back end is watched after a reload", async () => {
    const requestId = crypto.randomUUID();
    const documents = [{ kind: 1, fileName: "named.txt", content: new TextEncoder().encode("named") }];
    const run = connect(demo.world.serverUrl).export({ review: { documentName: "named.docx" }, documents, requestId });
    await dialog.page.getByLabel("the back end of this page").check();
    await dialog.page.route("**/api/start", (route) => route.fulfill({ json: { name: run.name } }));
    // The page does not learn of the acceptance before the reload.
    await dialog.page.route("**/WatchExport", (route) => route.abort());
    await dialog.choose();
    await demo.world.do("hold");
    for await (const update of run) if (update.type === "event") break;
    await dialog.save();
    await dialog.text("The connection is lost.");
    await dialog.page.unroute("**/WatchExport");
    await reloadAccepted();
    await dialog.text(MAY_CLOSE);
    await demo.world.do("release");
    await dialog.title("Saved to cloud storage");
    assert.match(await dialog.fact("Location"), /named/);
  });

  test("upload can be cancelled, and the server gets no export", async () => {
    await uploadInterrupted("cancelled upload ");
    await dialog.press("Cancel");
    await dialog.event("cancelled").waitFor();
    assert.equal(calls.includes("StartExport"), false);
    assert.equal(await dialog.saved(), undefined);
    // Nothing asks any more.
    await Promise.all([dialog.page.waitForEvent("close"), dialog.page.close({ runBeforeUnload: true })]);
  });

  test("reading a large document shows its progress before it is sent", async () => {
    await dialog.chooseLargeFile(9 * MIB, "read and sent ");
    await dialog.choose();
    const stages = await dialog.page.locator("dialog.main").evaluateHandle((element) => {
      const seen: string[] = [];
      const record = () => seen.push(element.querySelector(".stage")?.textContent ?? "");
      new MutationObserver(record).observe(element, { subtree: true, childList: true });
      return seen;
    });
    await dialog.save();
    await dialog.title("Saved to cloud storage");
    const seen = (await stages.jsonValue()).join("\n");
    assert.match(seen, /Reading large.docx: [1-9]\d?%[\s\S]*Sending large.docx to the server: \d+%/);
  });

  test("provisional values after a fallback are replaced once S3 has the bundle", async () => {
    await dialog.choose();
    await demo.world.do("s3 down");
    await dialog.save();
    await dialog.title("Saved on the server for now");
    assert.equal(await dialog.page.locator(".badge.provisional").count(), 2);
    const [location, proof] = [await dialog.fact("Location"), await dialog.fact("Proof")];
    await dialog.press("Close");
    await dialog.text("The audit bundle is saved on the server for now");
    // After a reload, the result is still provisional.
    await dialog.page.reload();
    await dialog.press("Complete review");
    await dialog.title("Saved on the server for now");
    await demo.world.do("s3 up");
    await dialog.event("synced").waitFor();
    await dialog.title("Saved to cloud storage");
    await dialog.text("These are the final values.");
    assert.equal(await dialog.page.locator(".badge.provisional").count(), 0);
    assert.match(await dialog.fact("Location"), /^s3:\/\//);
    assert.notEqual(await dialog.fact("Location"), location);
    assert.notEqual(await dialog.fact("Proof"), proof);
    await dialog.assertAccessible();
  });

  test("without a fallback, the dialog does not promise one", async () => {
    await dialog.choose();
    await dialog.text("the bundle is saved on the server first");
    await dialog.press("Cancel");
    await dialog.page.getByLabel("If S3 is not available").selectOption("none");
    await dialog.choose();
    await dialog.text("nothing is saved, and you can try again");
    assert.equal(await dialog.shows("the bundle is saved on the server first"), false);
    await dialog.press("Continue");
    await dialog.text("If cloud storage is not available, nothing is saved.");
    assert.equal(await dialog.shows("moved to cloud storage automatically"), false);
  });

  /** Reloads the page while an export runs. Its calls to follow the export get this answer. */
  async function reloadWhileFollowingFails(answer: ReturnType<typeof status>): Promise<void> {
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(MAY_CLOSE);
    await dialog.page.route("**/WatchExport", (route) => route.fulfill(answer));
    await dialog.page.reload();
    await dialog.title("The result is not known yet");
  }

  test("refused permission while following is not a failed export", async () => {
    await reloadWhileFollowingFails(status(7, "ROLE_MISSING"));
    await dialog.text("You don’t have the permission to do this.");
    await dialog.text("The server accepted the export.");
    assert.equal((await dialog.saved())?.phase, "accepted");
    await dialog.page.unroute("**/WatchExport");
    await demo.world.do("release");
    await dialog.press("Try again");
    await dialog.title("Saved to cloud storage");
  });

  test("document that the server removed meanwhile is sent again", async () => {
    const file = "expired upload ";
    await dialog.chooseLargeFile(9 * MIB, file);
    await dialog.choose();
    await dialog.page.route("**/StartExport", (route) => route.fulfill(status(5, "UPLOAD_NOT_FOUND")));
    await dialog.save();
    await dialog.title("No bundle was created");
    await dialog.text("The server no longer has the document that was sent to it.");
    await dialog.page.unroute("**/StartExport");
    await dialog.press("Try again");
    await dialog.title("Saved to cloud storage");
    await dialog.text("9.4 MB");
  });

  test("watch that is cancelled on its way is not a failed export", async () => {
    await reloadWhileFollowingFails(status(1, "CANCELLED"));
    assert.equal((await dialog.saved())?.phase, "accepted");
    assert.equal(await dialog.shows("No bundle was created"), false);
  });

  test("offline device is reported, and the dialog reconnects by itself", async () => {
    await dialog.page.getByLabel("the back end of this page").check();
    await followImpatiently();
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    await dialog.page.context().setOffline(true);
    await dialog.text("This device is offline.");
    // The stream ends with the server.
    await demo.world.do("restart");
    await dialog.title("Can’t reach the server");
    await dialog.text("The server accepted the export, and it continues there.");
    await dialog.assertAccessible();
    await dialog.page.context().setOffline(false);
    await dialog.title("Reconnecting to the export");
    await demo.world.do("release");
    await dialog.title("Saved to cloud storage");
  });

  test("closed dialog reconnects without opening, and its status says so", async () => {
    await dialog.page.getByLabel("the back end of this page").check();
    await followImpatiently();
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    await dialog.press("Continue in the background");
    await dialog.page.context().setOffline(true);
    await dialog.text("Reconnecting to the server…");
    await demo.world.do("restart");
    await dialog.text("Can’t reach the server");
    await dialog.page.context().setOffline(false);
    await dialog.text(/Saving the audit bundle/);
    await demo.world.do("release");
    await dialog.event("completed").waitFor();
    await dialog.text("The audit bundle is saved");
    assert.equal(await dialog.page.locator("dialog[open]").count(), 0);
  });

  test("server that restarts during the export is followed again", async () => {
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    await demo.world.do("restart");
    await demo.world.do("release");
    await dialog.title("Saved to cloud storage");
    assert.equal(await dialog.event("started").count(), 1);
  });

  test("lost connection is shown while it is tried again", async () => {
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    await dialog.page.route("**/WatchExport", (route) => route.abort());
    await demo.world.do("restart");
    await dialog.text("The connection is lost. Reconnecting…");
    await dialog.page.unroute("**/WatchExport");
    await demo.world.do("release");
    await dialog.title("Saved to cloud storage");
  });

  test("proxy that keeps events back does not hide that the server accepted the export", async () => {
    const { page, close } = await openPage(browser, demo.pageUrl);
    try {
      await page.clock.install();
      await page.reload();
      // The response is passed on when it is complete.
      await page.route("**/StartExport", async (route) =>
        route.fulfill({ response: await route.fetch({ timeout: 0 }) }),
      );
      const press = (name: string) => page.getByRole("button", { name, exact: true }).click();
      await demo.world.do("hold");
      await press("Complete review");
      await press("Continue");
      await page.locator("dialog.confirm[open]").waitFor();
      const [request] = await Promise.all([page.waitForRequest("**/StartExport"), press("Save to cloud storage")]);
      await page.getByText(KEEP_OPEN).first().waitFor();
      const saved = await page.evaluate(() => sessionStorage.getItem("complete-review:demo") ?? "");
      const name = `exports/${JSON.parse(saved).requestId}`;
      for await (const _ of connect(demo.world.serverUrl).watch(name)) break;
      await page.clock.fastForward(20_000);
      await page.getByText("Its progress cannot be shown at the moment.").waitFor();
      await page.getByText(MAY_CLOSE).waitFor();
      await demo.world.do("release");
      await page.getByRole("heading", { name: "Saved to cloud storage", level: 2 }).waitFor();
      assert.ok(request);
    } finally {
      await page.unrouteAll({ behavior: "ignoreErrors" });
      await close();
    }
  });

  test("another tab watches the export, and starts no second one", async () => {
    const count = await dialog.exportCount();
    await dialog.choose();
    await demo.world.do("hold");
    await dialog.save();
    await dialog.text(/7 of 12 files/);
    const other = await dialog.otherTab();
    await other.press("Complete review");
    await other.title("This review is being saved in another tab");
    await other.text(/7 of 12 files/);
    await demo.world.do("release");
    await Promise.all([dialog.title("Saved to cloud storage"), other.title("Saved to cloud storage")]);
    assert.equal(await other.fact("Location"), await dialog.fact("Location"));
    assert.equal(await dialog.exportCount(), count + 1);
    await other.close();
  });

  test("another tab waits while a document is sent, and can start when sending ends", async () => {
    await uploadInterrupted("upload of another tab ");
    const other = await dialog.otherTab();
    await other.press("Complete review");
    await other.title("This review is being saved in another tab");
    await other.text("Keep the other tab open until the server has received everything.");
    await dialog.press("Cancel");
    await other.title("Where should the audit bundle go?");
    await other.close();
  });
});
