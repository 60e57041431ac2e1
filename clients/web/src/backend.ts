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
} from "tara-export/web";

/** What a person chose. */
export type DestinationChoice = "s3" | "local";

/** What `start` is told. */
export interface StartChoice {
  destination: DestinationChoice;
  /** The request_id of StartExport. When it comes a second time, it is the same export. */
  requestId: string;
  /** Ends following, not the export: the element is gone, or follows another. */
  signal: AbortSignal;
}

/** Answers PreviewExport, as a message or as its proto3 JSON. */
export type PreviewFunction = () => Promise<PreviewExportResponse | JsonValue>;

/**
 * Starts the export and says how to follow it: by name, `exports/{export_id}`, once somebody else started
 * it; or by the updates themselves.
 */
export type StartFunction = (choice: StartChoice) => Promise<string | AsyncIterable<ExportUpdate>>;

/** The two functions that a page gives the element. */
export interface ReviewBackend {
  preview: PreviewFunction;
  start: StartFunction;
}

/** A review from its proto3 JSON, as back ends have it. */
export function reviewFromJson(json: JsonValue): Review {
  return fromJson(ReviewSchema, json);
}

const destinations = { s3: Destination.S3, local: Destination.LOCAL } as const;

/** The page has the review: it talks to the service itself, over gRPC-Web. */
export function straightToService(
  client: Client,
  request: () => ExportRequest | Promise<ExportRequest>,
): ReviewBackend {
  return {
    preview: async () => client.preview(previewRequestOf(await request())),
    start: async ({ destination, requestId, signal }) =>
      client.export({ ...(await request()), requestId, destination: destinations[destination] }, { signal }),
  };
}

/** Where the page's back end answers. */
export interface BackEndUrls {
  /** GET: proto3 JSON of a PreviewExportResponse. */
  preview: string;
  /** POST `{"request_id": …, "destination": "DESTINATION_S3" or "DESTINATION_LOCAL"}`: `{"name": "exports/…"}`. */
  start: string;
  /** What `fetch` is to send besides, such as a token against forged requests. */
  headers?: Record<string, string>;
}

/** The page's back end has the review and starts the export; the page follows it by name. */
export function startedByBackEnd({ preview, start, headers = {} }: BackEndUrls): ReviewBackend {
  return {
    preview: () => fetchJson(preview, { headers }),
    start: async ({ destination, requestId, signal }) => {
      const body = JSON.stringify({ request_id: requestId, destination: `DESTINATION_${destination.toUpperCase()}` });
      const withType = { ...headers, "content-type": "application/json" };
      const answer = await fetchJson(start, { method: "POST", headers: withType, body, signal });
      const name = typeof answer === "object" && answer !== null && "name" in answer ? answer.name : undefined;
      if (typeof name !== "string") throw new Error("The page's server did not say which export it started.");
      return name;
    },
  };
}

async function fetchJson(url: string, init: RequestInit): Promise<JsonValue> {
  const response = await fetch(url, init);
  if (!response.ok) throw new Error(await refusal(response));
  return (await response.json()) as JsonValue;
}

/** What a back end says of its failure: its text if that is short enough for a person. */
async function refusal(response: Response): Promise<string> {
  const isText = response.headers.get("content-type")?.startsWith("text/plain");
  const text = isText ? (await response.text()).trim() : "";
  return text !== "" && text.length <= 500 ? text : `The page's server answered ${response.status}.`;
}
