import { create, type JsonObject, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

import { TaraExportError } from "./error.js";
import {
  type FeedbackItem,
  FeedbackItemSchema,
  type FeedbackSection,
  FeedbackSectionSchema,
  type Replacement,
  ReplacementSchema,
  type Review,
  ReviewSchema,
} from "./gen/tara/export/v1/review_pb.js";

const MAX_ENTRIES = 1_000;
/** Limit of all paths and reasons of a request, and of one path. */
const MAX_BYTES = 128 * 1024;
const MAX_PATH_BYTES = 1024;
/** Space for the last entry, which counts the values that are not listed. */
const RESERVED_BYTES = 128;
/** Limit of the values of a review. A large review has about ten thousand. */
const MAX_VALUES = 1_000_000;
/** Nesting depth of free-form fields. Deeper lists and objects become JSON text, and null beyond the second limit. */
const MAX_DEPTH = 30;
const MAX_TEXT_DEPTH = 100;
const INT64_LIMIT = 2n ** 63n;

const descriptions = {
  NOT_UNICODE: "contains half of a surrogate pair, which is not a character: exported as U+FFFD",
  NOT_FINITE: "is not a finite number: exported as a text",
  NOT_EXACT: "is a number that would be rounded: exported as a text",
  KEY_NOT_TEXT: "has a key that is not a text: exported as the key's text",
  DUPLICATE_KEY: "has a key that occurs twice in its object: exported under another key",
  TOO_DEEP: "is nested too deep: exported as JSON text, or as null beyond 100 levels",
  CIRCULAR: "contains itself: exported as null",
  BYTES: "is bytes: exported as base64",
  UNKNOWN_TYPE: "is of an unknown type: exported as its text",
} as const;

/** Why a value was replaced. */
export type ReplacementReason = keyof typeof descriptions;

/** Describes a replacement for people, with its path. */
export function describeReplacement({ path, reason }: Replacement): string {
  return `${path}: ${(descriptions as Record<string, string>)[reason] ?? reason}`;
}

/**
 * Replaces the values of a review that a request cannot have, and appends them to `review.replacements`:
 * halves of surrogate pairs, numbers that are not finite or would be rounded, and values that JSON does not have.
 * `Client.export` and `previewRequestOf` call it. Does not change its argument.
 */
export function sendableReview(review: MessageInitShape<typeof ReviewSchema>): Review {
  return new Conversion(create(ReviewSchema, review)).review();
}

/** As {@link sendableReview}, and replaces the values of further texts, such as file names, by their paths. */
export function sendable(
  review: MessageInitShape<typeof ReviewSchema> | undefined,
  texts: ReadonlyMap<string, string>,
): { review: Review | undefined; texts: Map<string, string> } {
  const conversion = new Conversion(create(ReviewSchema, review));
  const converted = new Map([...texts].map(([path, text]) => [path, conversion.text(text, path)]));
  const message = conversion.review();
  return { review: review || message.replacements.length > 0 ? message : undefined, texts: converted };
}

class Conversion {
  private readonly replaced: [path: string, reason: ReplacementReason][] = [];
  private bytes: number;
  private unlisted = 0;
  private count = 0;
  /** The lists and objects above the current value. */
  private readonly open = new Set<object>();

  constructor(private readonly source: Review) {
    this.bytes = source.replacements.reduce((sum, { path, reason }) => sum + size(path) + size(reason), 0);
  }

  review(): Review {
    const { source } = this;
    const texts = (list: readonly string[], path: string) =>
      list.map((text, index) => this.text(text, `${path}[${index}]`));
    const structs = (list: readonly JsonObject[], path: string) =>
      list.map((entry, index) => this.struct(entry, `${path}[${index}]`));
    const review = create(ReviewSchema, {
      documentName: this.text(source.documentName, "document_name"),
      sessionId: this.text(source.sessionId, "session_id"),
      reviewer: this.text(source.reviewer, "reviewer"),
      ...(source.guidelinesName !== undefined && {
        guidelinesName: this.text(source.guidelinesName, "guidelines_name"),
      }),
      guidelinesPreference: this.text(source.guidelinesPreference, "guidelines_preference"),
      sectionNames: texts(source.sectionNames, "section_names"),
      suggestions: this.sections(source.suggestions, "suggestions"),
      accepted: this.sections(source.accepted, "accepted"),
      rejected: this.sections(source.rejected, "rejected"),
      userCreated: this.sections(source.userCreated, "user_created"),
      activityLog: structs(source.activityLog, "activity_log"),
      chatHistory: structs(source.chatHistory, "chat_history"),
      auditLogs: structs(source.auditLogs, "audit_logs"),
      activityTimeline: structs(source.activityTimeline, "activity_timeline"),
      ...(source.performanceMetrics && {
        performanceMetrics: this.struct(source.performanceMetrics, "performance_metrics"),
      }),
    });
    review.replacements = [...source.replacements, ...this.replacements()];
    if (source.$unknown) review.$unknown = source.$unknown;
    return review;
  }

  text(value: string, path: string): string {
    if (typeof value !== "string") return value;
    const valid = unicode(value);
    if (valid !== value) this.add(path, "NOT_UNICODE");
    return valid;
  }

  private replacements(): Replacement[] {
    const list = this.replaced.map(([path, reason]) => create(ReplacementSchema, { path, reason }));
    if (this.unlisted === 0 || this.source.replacements.length + list.length >= MAX_ENTRIES) return list;
    const reason = `${this.unlisted} more values were replaced and are not listed`;
    return [...list, create(ReplacementSchema, { path: "review", reason })];
  }

  private add(path: string, reason: ReplacementReason): void {
    const listed = cut(path);
    const bytes = size(listed) + size(reason);
    const length = this.source.replacements.length + this.replaced.length;
    const isFull = length + 1 >= MAX_ENTRIES || this.bytes + bytes > MAX_BYTES - RESERVED_BYTES;
    if (isFull || this.unlisted > 0) {
      this.unlisted += 1;
      return;
    }
    this.bytes += bytes;
    this.replaced.push([listed, reason]);
  }

  private sections(sections: readonly FeedbackSection[], list: string): FeedbackSection[] {
    const names = new Names();
    return sections.map(({ name, items }) => {
      const valid = typeof name === "string" ? unicode(name) : name;
      // A server rejects equal names. Those of the caller stay as they are.
      const unique = valid === name ? names.keep(name) : names.unique(valid);
      const path = keyPath(list, unique);
      if (unique !== name) this.add(path, unique === valid ? "NOT_UNICODE" : "DUPLICATE_KEY");
      return create(FeedbackSectionSchema, {
        name: unique,
        items: items.map((item, index) => this.item(item, `${path}[${index}]`)),
      });
    });
  }

  private item(item: FeedbackItem, path: string): FeedbackItem {
    const converted: FeedbackItem = create(FeedbackItemSchema, { ...item });
    for (const key of ITEM_TEXTS) {
      const value = item[key];
      if (value !== undefined) converted[key] = this.text(value, `${path}.${snake(key)}`);
    }
    converted.questions = item.questions.map((text, index) => this.text(text, `${path}.questions[${index}]`));
    const moved: Record<string, unknown> = {};
    if (item.confidence !== undefined && !Number.isFinite(item.confidence)) {
      moved.confidence = item.confidence;
      delete converted.confidence;
    }
    if (!item.hawkeyeRefs.every((reference) => typeof reference === "bigint" && isInt64(reference))) {
      moved.hawkeye_refs = item.hawkeyeRefs;
      converted.hawkeyeRefs = [];
    }
    if (item.additionalFields !== undefined || Object.keys(moved).length > 0) {
      converted.additionalFields = this.struct({ ...item.additionalFields, ...moved }, path);
    }
    return converted;
  }

  private struct(value: unknown, path: string): JsonObject {
    const converted = this.json(value, path, 1);
    const isObject = typeof converted === "object" && converted !== null && !Array.isArray(converted);
    return isObject ? converted : { value: converted };
  }

  /** Converts a free-form value. `level` is its nesting depth if it is a list or object. */
  private json(value: unknown, path: string, level: number): JsonValue {
    this.count += 1;
    if (this.count > MAX_VALUES) {
      const message = `${path}: the review has more than ${MAX_VALUES} values`;
      throw new TaraExportError(Code.ResourceExhausted, message, { reason: "REQUEST_TOO_LARGE" });
    }
    if (value === null || value === undefined || typeof value === "boolean") return value ?? null;
    if (typeof value === "string") return this.text(value, path);
    if (typeof value === "number" || typeof value === "bigint") return this.number(value, path, level);
    if (typeof value === "object") return this.object(value, path, level);
    return this.unknown(value, path);
  }

  private number(value: number | bigint, path: string, level: number): JsonValue {
    if (typeof value === "number" && !Number.isFinite(value)) {
      this.add(path, "NOT_FINITE");
      return String(value);
    }
    const isLarge = typeof value === "bigint" || (Number.isInteger(value) && Math.abs(value) < 1e21);
    if (!isLarge || Number.isSafeInteger(Number(value))) return Number(value);
    // A text of JSON has all digits.
    if (level > MAX_DEPTH + 1) return new Digits(BigInt(value)) as never;
    this.add(path, "NOT_EXACT");
    return BigInt(value).toString();
  }

  private object(value: object, path: string, level: number): JsonValue {
    const leaf = this.leaf(value, path, level);
    if (leaf !== undefined) return leaf;
    if (this.open.has(value)) {
      this.add(path, "CIRCULAR");
      return null;
    }
    if (level > MAX_TEXT_DEPTH) {
      this.add(path, "TOO_DEEP");
      return null;
    }
    this.open.add(value);
    try {
      const converted = isList(value) ? this.list(value, path, level) : this.entries(value, path, level);
      if (level !== MAX_DEPTH + 1) return converted;
      this.add(path, "TOO_DEEP");
      return jsonText(converted);
    } finally {
      this.open.delete(value);
    }
  }

  /** Converts an object that is not a list or an object of JSON. */
  private leaf(value: object, path: string, level: number): JsonValue | undefined {
    if (value instanceof Uint8Array || value instanceof ArrayBuffer) {
      this.add(path, "BYTES");
      return base64(value instanceof ArrayBuffer ? new Uint8Array(value) : value);
    }
    if (value instanceof String || value instanceof Number || value instanceof Boolean) {
      return this.json(value.valueOf(), path, level);
    }
    if (value instanceof Date && Number.isNaN(value.getTime())) {
      this.add(path, "NOT_FINITE");
      return String(value);
    }
    if ("toJSON" in value && typeof value.toJSON === "function") {
      const json: unknown = value.toJSON();
      return json === value ? this.unknown(value, path) : this.json(json, path, level);
    }
    if (isList(value) || value instanceof Map) return undefined;
    const prototype: unknown = Object.getPrototypeOf(value);
    const isPlain = prototype === null || Object.getPrototypeOf(prototype) === null;
    // An Error, RegExp or Promise has no properties that JSON would have.
    return isPlain || Object.keys(value).length > 0 ? undefined : this.unknown(value, path);
  }

  private list(value: Iterable<unknown>, path: string, level: number): JsonValue[] {
    return Array.from(value, (element, index) => this.json(element, `${path}[${index}]`, level + 1));
  }

  private entries(value: object, path: string, level: number): JsonObject {
    const names = new Names();
    const converted: [string, JsonValue][] = [];
    for (const [key, element] of value instanceof Map ? value : Object.entries(value)) {
      // As in JSON.stringify.
      if (element === undefined) continue;
      const text = unicode(String(key));
      const name = names.unique(text);
      const elementPath = keyPath(path, name);
      if (name !== text) this.add(elementPath, "DUPLICATE_KEY");
      else if (typeof key !== "string") this.add(elementPath, "KEY_NOT_TEXT");
      else if (text !== key) this.add(elementPath, "NOT_UNICODE");
      converted.push([name, this.json(element, elementPath, level + 1)]);
    }
    // Unlike an assignment, it has no special key `__proto__`.
    return Object.fromEntries(converted);
  }

  private unknown(value: unknown, path: string): string {
    this.add(path, "UNKNOWN_TYPE");
    return unicode(String(value).slice(0, 1_000));
  }
}

const ITEM_TEXTS = [
  "id",
  "type",
  "category",
  "description",
  "suggestion",
  "example",
  "riskLevel",
  "timestamp",
  "aiReference",
  "aiId",
] as const;

/** Makes names unique. */
class Names {
  /** The number of the last name with this text. */
  private readonly numbers = new Map<string, number>();

  keep(name: string): string {
    this.numbers.set(name, this.numbers.get(name) ?? 1);
    return name;
  }

  unique(text: string): string {
    let name = text;
    for (let number = this.numbers.get(text); this.numbers.has(name); ) {
      number = (number ?? 1) + 1;
      this.numbers.set(text, number);
      name = `${text} (${number})`;
    }
    return this.keep(name);
  }
}

/** An integer in a text of JSON. */
class Digits {
  constructor(readonly value: bigint) {}
}

function jsonText(value: JsonValue | Digits): string {
  if (value instanceof Digits) return value.value.toString();
  if (Array.isArray(value)) return `[${value.map(jsonText).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const entries = Object.entries(value).map(([key, element]) => `${JSON.stringify(key)}:${jsonText(element)}`);
    return `{${entries.join(",")}}`;
  }
  return JSON.stringify(value);
}

function isList(value: object): value is Iterable<unknown> {
  return Array.isArray(value) || value instanceof Set || (ArrayBuffer.isView(value) && !(value instanceof DataView));
}

function isInt64(value: bigint): boolean {
  return value >= -INT64_LIMIT && value < INT64_LIMIT;
}

/** Replaces each unpaired surrogate by U+FFFD. */
export function unicode(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function keyPath(path: string, key: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `${path}.${key}` : `${path}[${JSON.stringify(key)}]`;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function size(text: string): number {
  return new TextEncoder().encode(text).length;
}

function cut(path: string): string {
  const bytes = new TextEncoder().encode(path);
  if (bytes.length <= MAX_PATH_BYTES) return path;
  // A cut character becomes U+FFFD.
  const start = new TextDecoder().decode(bytes.subarray(0, MAX_PATH_BYTES - 3));
  return `${start.replace(/\ufffd+$/, "")}…`;
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
