// Exports a review from a proto3 JSON file, shows the progress, and reads the report:
//   node build/examples/export-review.js http://127.0.0.1:8080 examples/request.json [DOCUMENT]
import { readFile } from "node:fs/promises";
import { basename } from "node:path";

import {
  connect,
  Document_Kind,
  type DocumentInput,
  type ExportUpdate,
  fileContent,
  fromJson,
  GetReportRequest_View,
  printable,
  StartExportRequestSchema,
  TaraExportError,
} from "tara-export/node";

const [server = "http://127.0.0.1:8080", requestPath = "examples/request.json", documentPath] = process.argv.slice(2);
const protocol = process.env.TARA_EXPORT_PROTOCOL === "grpc-web" ? "grpc-web" : "grpc";
const client = connect(server, { protocol });

// A StartExportRequest in proto3 JSON. The new id creates a new bundle on each run.
const saved = fromJson(StartExportRequestSchema, JSON.parse(await readFile(requestPath, "utf8")));
const request = { ...saved, requestId: crypto.randomUUID() };

/** The documents of the request. A document named on the command line replaces the one after the review. */
async function documents(): Promise<readonly (DocumentInput | (typeof saved.documents)[number])[]> {
  if (!documentPath) return saved.documents;
  const content = await fileContent(documentPath);
  const after = { kind: Document_Kind.AFTER, fileName: basename(documentPath), content };
  return [...saved.documents.filter(({ kind }) => kind !== Document_Kind.AFTER), after];
}

function show(update: ExportUpdate): void {
  if (update.type === "upload") {
    console.log(`uploading ${update.fileName}: ${update.doneBytes} of ${update.sizeBytes} bytes`);
    return;
  }
  const { event, progress } = update.event;
  if (event.case === "artifactStored") {
    console.log(`stored ${printable(event.value.path)} (${progress?.artifactsDone} of ${progress?.artifactsTotal})`);
  } else if (event.case === "fellBack") {
    console.log(`fell back to the server's disk: ${printable(event.value.message)}`);
  }
}

try {
  const run = client.export({ ...request, documents: await documents() });
  for await (const update of run) show(update);
  const { name, location, artifactCount, sizeBytes } = await run.result();
  console.log(`${name}: ${artifactCount} files, ${sizeBytes} bytes in ${printable(location)}`);
  const { report } = await client.getReport(name, GetReportRequest_View.TEXT);
  if (report.case === "text") console.log(report.value.split("\n").slice(0, 6).map(printable).join("\n"));
} catch (error) {
  if (!(error instanceof TaraExportError)) throw error;
  console.error(`${error.codeName} ${printable(error.reason ?? "")}: ${error.message}`);
  for (const { field, description } of error.fieldViolations) console.error(printable(`  ${field}: ${description}`));
  process.exitCode = 1;
}
