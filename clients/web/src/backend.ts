import {
  type Client,
  Destination,
  type ExportRequest,
  type ExportUpdate,
  Fallback,
  type FollowSettings,
  fromJson,
  isMessage,
  type JsonValue,
  type PreviewExportResponse,
  PreviewExportResponseSchema,
  previewRequestOf,
  type Review,
  ReviewSchema,
  sendableReview,
} from "tara-export/web";

import { NetworkError, PageError } from "./page-error.js";

/** The destination that the user chose. */
export type DestinationChoice = "s3" | "local";

/** What happens if S3 is not available: the bundle is saved on the server, or nothing is saved. */
export type FallbackChoice = "local" | "none";

/** The argument of `preview`. */
export interface PreviewChoice {
  /** The language of the dialog, as a tag such as `de-CH`. */
  language: string;
  /** Aborted if the user cancels, or if the element is removed. */
  signal: AbortSignal;
}

/** The argument of `start`. */
export interface StartChoice {
  destination: DestinationChoice;
  /** The request_id of StartExport. The same id always refers to the same export. */
  requestId: string;
  /** The e-mail addresses that the user asked to be notified at; empty if none. */
  notifyEmails: readonly string[];
  /** The language of the dialog, as a tag such as `de-CH`. */
  language: string;
  /** Stops following, not the export. Aborted if the element is removed or follows another export. */
  signal: AbortSignal;
  /** To be passed to `Client.export`: the dialog shows that the connection is lost. */
  onRetry: NonNullable<FollowSettings["onRetry"]>;
  /** To be passed to `Client.export`: the dialog shows the progress of reading large documents. */
  onHash: NonNullable<FollowSettings["onHash"]>;
}

/** Returns the PreviewExport response, as a message or as proto3 JSON. */
export type PreviewFunction = (choice: PreviewChoice) => Promise<PreviewExportResponse | JsonValue>;

/**
 * Starts the export. Returns its name, `exports/{export_id}`, if another program started it, or its updates.
 */
export type StartFunction = (choice: StartChoice) => Promise<string | AsyncIterable<ExportUpdate>>;

/** What the page provides to the element. */
export interface ReviewBackend {
  preview: PreviewFunction;
  start: StartFunction;
  /** The fallback of the export that `start` starts, or a function that returns it. Default: `local`. */
  fallback?: FallbackChoice | (() => FallbackChoice | Promise<FallbackChoice>) | undefined;
}

/** Parses a review from proto3 JSON. Values that a request cannot have are replaced and listed. */
export function reviewFromJson(json: JsonValue): Review {
  return sendableReview(fromJson(ReviewSchema, json));
}

const destinations = { s3: Destination.S3, local: Destination.LOCAL } as const;

/** For pages that have the review: calls the service directly, over gRPC-Web. */
export function directToService(client: Client, request: () => ExportRequest | Promise<ExportRequest>): ReviewBackend {
  return {
    preview: async ({ signal }) => client.preview(previewRequestOf(await request()), { signal }),
    start: async ({ destination, requestId, notifyEmails, signal, onRetry, onHash }) => {
      const given = await request();
      const all = [...new Set([...(given.notifyEmails ?? []), ...notifyEmails])];
      const chosen = { requestId, destination: destinations[destination], notifyEmails: all };
      return client.export({ ...given, ...chosen }, { signal, onRetry, onHash });
    },
    fallback: async () => ((await request()).fallback === Fallback.NONE ? "none" : "local"),
  };
}

/** Endpoints of the page's back end. */
export interface BackEndUrls {
  /** GET, returns a PreviewExportResponse in proto3 JSON. Its `accept-language` is the language of the dialog. */
  preview: string;
  /**
   * POST `{"request_id": …, "destination": "DESTINATION_S3" or "DESTINATION_LOCAL"}`, returns `{"name": "exports/…"}`.
   * The request also has `"notify_emails": ["…"]` if the user asked to be notified.
   */
  start: string;
  /** Additional request headers, such as a CSRF token, or a function that returns them before each request. */
  headers?: Record<string, string> | (() => Record<string, string> | Promise<Record<string, string>>);
  /** The fallback of the exports that the back end starts. Default: `local`. */
  fallback?: ReviewBackend["fallback"];
}

/** For pages whose back end has the review: the back end starts the export, and the page follows it by name. */
export function viaBackEnd({ preview, start, headers = {}, fallback }: BackEndUrls): ReviewBackend {
  const currentHeaders = async (language: string) => ({
    "accept-language": language,
    ...(typeof headers === "function" ? await headers() : headers),
  });
  return {
    preview: async ({ language, signal }) => fetchJson(preview, { headers: await currentHeaders(language), signal }),
    start: async ({ destination, requestId, notifyEmails, language, signal }) => {
      const body = JSON.stringify({
        request_id: requestId,
        destination: `DESTINATION_${destination.toUpperCase()}`,
        ...(notifyEmails.length > 0 && { notify_emails: notifyEmails }),
      });
      const withType = { ...(await currentHeaders(language)), "content-type": "application/json" };
      const response = await fetchJson(start, { method: "POST", headers: withType, body, signal });
      const name = typeof response === "object" && response !== null && "name" in response ? response.name : undefined;
      if (typeof name !== "string") throw new PageError("failed.page.noName");
      return name;
    },
    fallback,
  };
}

async function fetchJson(url: string, init: RequestInit): Promise<JsonValue> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (cause) {
    init.signal?.throwIfAborted();
    throw new NetworkError(cause);
  }
  if (!response.ok) throw await failureOf(response);
  return (await response.json()) as JsonValue;
}

/** The error text of the back end if it is short plain text, otherwise a generic message. */
async function failureOf(response: Response): Promise<Error> {
  const isText = response.headers.get("content-type")?.startsWith("text/plain");
  const text = isText ? (await response.text()).trim() : "";
  if (text !== "" && text.length <= 500) return new Error(text);
  return new PageError("failed.page", { status: String(response.status) });
}

/** Reads the preview as a message. */
export async function readPreview(preview: PreviewFunction, choice: PreviewChoice): Promise<PreviewExportResponse> {
  const response = await preview(choice);
  if (isMessage(response, PreviewExportResponseSchema)) return response;
  return fromJson(PreviewExportResponseSchema, response, { ignoreUnknownFields: true });
}
