import {
  type Client,
  Destination,
  type ExportRequest,
  type ExportUpdate,
  fromJson,
  type JsonValue,
  type PreviewExportResponse,
  previewRequestOf,
  type Review,
  ReviewSchema,
  sendableReview,
} from "tara-export/web";

/** The destination that the user chose. */
export type DestinationChoice = "s3" | "local";

/** The argument of `start`. */
export interface StartChoice {
  destination: DestinationChoice;
  /** The request_id of StartExport. The same id always refers to the same export. */
  requestId: string;
  /** Stops following, not the export. Aborted if the element is removed or follows another export. */
  signal: AbortSignal;
}

/** Returns the PreviewExport response, as a message or as proto3 JSON. */
export type PreviewFunction = () => Promise<PreviewExportResponse | JsonValue>;

/**
 * Starts the export. Returns its name, `exports/{export_id}`, if another program started it, or its updates.
 */
export type StartFunction = (choice: StartChoice) => Promise<string | AsyncIterable<ExportUpdate>>;

/** The two functions that the page provides to the element. */
export interface ReviewBackend {
  preview: PreviewFunction;
  start: StartFunction;
}

/** Parses a review from proto3 JSON. Values that a request cannot have are replaced and listed. */
export function reviewFromJson(json: JsonValue): Review {
  return sendableReview(fromJson(ReviewSchema, json));
}

const destinations = { s3: Destination.S3, local: Destination.LOCAL } as const;

/** For pages that have the review: calls the service directly, over gRPC-Web. */
export function directToService(client: Client, request: () => ExportRequest | Promise<ExportRequest>): ReviewBackend {
  return {
    preview: async () => client.preview(previewRequestOf(await request())),
    start: async ({ destination, requestId, signal }) =>
      client.export({ ...(await request()), requestId, destination: destinations[destination] }, { signal }),
  };
}

/** Endpoints of the page's back end. */
export interface BackEndUrls {
  /** GET, returns a PreviewExportResponse in proto3 JSON. */
  preview: string;
  /** POST `{"request_id": …, "destination": "DESTINATION_S3" or "DESTINATION_LOCAL"}`, returns `{"name": "exports/…"}`. */
  start: string;
  /** Additional request headers, such as a CSRF token, or a function that returns them before each request. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
}

/** For pages whose back end has the review: the back end starts the export, and the page follows it by name. */
export function viaBackEnd({ preview, start, headers = {} }: BackEndUrls): ReviewBackend {
  const currentHeaders = async () => (typeof headers === "function" ? headers() : headers);
  return {
    preview: async () => fetchJson(preview, { headers: await currentHeaders() }),
    start: async ({ destination, requestId, signal }) => {
      const body = JSON.stringify({ request_id: requestId, destination: `DESTINATION_${destination.toUpperCase()}` });
      const withType = { ...(await currentHeaders()), "content-type": "application/json" };
      const response = await fetchJson(start, { method: "POST", headers: withType, body, signal });
      const name = typeof response === "object" && response !== null && "name" in response ? response.name : undefined;
      if (typeof name !== "string") throw new Error("The page’s server did not return the name of the export.");
      return name;
    },
  };
}

async function fetchJson(url: string, init: RequestInit): Promise<JsonValue> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(await failureText(response));
  return (await response.json()) as JsonValue;
}

/** Returns the error text of the back end if it is short plain text, otherwise a generic message. */
async function failureText(response: Response): Promise<string> {
  const isText = response.headers.get("content-type")?.startsWith("text/plain");
  const text = isText ? (await response.text()).trim() : "";
  return text !== "" && text.length <= 500 ? text : `The page’s server returned status ${response.status}.`;
}
