import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { fromBinary, type JsonObject, type JsonValue, toBinary } from "@bufbuild/protobuf";

import { type FeedbackItem, previewRequestOf, type Review, ReviewSchema, sendableReview } from "../src/node/index.js";

interface Case {
  name: string;
  value: unknown;
  item: unknown;
  sent: unknown;
  replacements: [path: string, reason: string][];
}

/** The cases that all clients share. */
const table = JSON.parse(readFileSync(new URL("../../../values.json", import.meta.url), "utf8")) as {
  values: Case[];
  items: Case[];
  limits: { entries: number; bytes: number; text_bytes: number };
};

/** Builds the value that a case describes. */
function decoded(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(decoded);
  if (typeof value !== "object" || value === null) return value;
  const [first] = Object.entries(value);
  switch (first?.[0]) {
    case "$utf16":
      return String.fromCharCode(...first[1].split(" ").map((unit: string) => Number.parseInt(unit, 16)));
    case "$number":
      return Number(first[1]);
    case "$integer":
      return BigInt(first[1]);
    case "$entries":
      return Object.fromEntries(first[1].map(([key, element]: [unknown, unknown]) => [decoded(key), decoded(element)]));
    case "$nested": {
      let nested = decoded(first[1][1]);
      for (let level = 0; level < first[1][0]; level += 1) nested = [nested];
      return nested;
    }
    default:
      return Object.fromEntries(Object.entries(value).map(([key, element]) => [key, decoded(element)]));
  }
}

/** The review as a server receives it. */
function sent(review: Parameters<typeof sendableReview>[0]): Review {
  return fromBinary(ReviewSchema, toBinary(ReviewSchema, sendableReview(review)));
}

function listed({ replacements }: Review): string[] {
  return replacements.map(({ path, reason }) => `${path} ${reason}`).sort();
}

function expected({ replacements }: Case, places: string[]): string[] {
  return places.flatMap((place) => replacements.map(([path, reason]) => `${place}${path} ${reason}`)).sort();
}

function converted(value: unknown): [value: JsonValue | undefined, reasons: string[]] {
  const review = sent({ chatHistory: [{ x: value as JsonValue }] });
  return [review.chatHistory[0]?.x, review.replacements.map(({ reason }) => reason)];
}

for (const row of table.values) {
  test(`free-form value: ${row.name}`, () => {
    // Numbers are doubles or of any size.
    const asDouble = (value: unknown): unknown =>
      typeof value === "bigint" ? Number(value) : Array.isArray(value) ? value.map(asDouble) : value;
    const given = decoded(row.value);
    for (const value of [given, asDouble(given)]) {
      const fields = { x: value } as JsonObject;
      const review = sent({
        suggestions: [{ name: "Section 1", items: [{ additionalFields: fields }] }],
        chatHistory: [fields],
        performanceMetrics: fields,
      });
      const received = [
        review.suggestions[0]?.items[0]?.additionalFields,
        review.chatHistory[0],
        review.performanceMetrics,
      ];
      for (const actual of received) assert.deepEqual(actual, { x: decoded(row.sent) });
      const places = ['suggestions["Section 1"][0].x', "chat_history[0].x", "performance_metrics.x"];
      assert.deepEqual(listed(review), expected(row, places));
      assert.deepEqual(listed(previewRequestOf({ review: { chatHistory: [fields] } }).review as Review), [
        ...expected(row, ["chat_history[0].x"]),
      ]);
    }
  });
}

for (const row of table.items) {
  test(`item: ${row.name}`, () => {
    const { other, ...known } = decoded(row.item) as { other?: JsonValue };
    const item = { ...known, ...(other !== undefined && { additionalFields: { other } }) };
    const review = sent({ accepted: [{ name: "S", items: [item] }] });
    const { additionalFields, ...fields } = (review.accepted[0]?.items[0] ?? {}) as Partial<FeedbackItem>;
    const actual: Record<string, unknown> = { ...additionalFields };
    for (const key of ["id", "description", "confidence", "questions"] as const) {
      const value = fields[key];
      if (value !== undefined && !(Array.isArray(value) && value.length === 0)) actual[key] = value;
    }
    assert.deepEqual(actual, row.sent);
    assert.deepEqual(listed(review), expected(row, ["accepted.S[0]"]));
  });
}

test("list of replacements has a limit", () => {
  const { limits } = table;
  for (const key of ["k", "ä".repeat(1000)]) {
    const values = Object.fromEntries(Array.from({ length: 3000 }, (_, index) => [`${key}${index}`, Number.NaN]));
    const old = { path: "a", reason: "OLD" };
    const { replacements } = sent({ performanceMetrics: values, replacements: [old] });
    assert.ok(replacements.length <= limits.entries);
    const sizes = replacements.flatMap(({ path, reason }) => [Buffer.byteLength(path), Buffer.byteLength(reason)]);
    assert.ok(sizes.every((size) => size >= 1 && size <= limits.text_bytes));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    assert.ok(bytes <= limits.bytes && (bytes > limits.bytes * 0.9 || key === "k"));
    assert.equal(replacements[0]?.reason, "OLD");
    const more = 3000 - (replacements.length - 2);
    const { path, reason } = replacements.at(-1) ?? old;
    assert.deepEqual([path, reason], ["review", `${more} more values were replaced and are not listed`]);
  }
});

test("values that JSON does not have are replaced", () => {
  const circular: Record<string, unknown> = {};
  circular.self = [circular];
  const date = new Date("2026-11-01T09:00:18Z");
  const cases: [value: unknown, sent: unknown, ...reasons: string[]][] = [
    [date, "2026-11-01T09:00:18.000Z"],
    [{ a: undefined, b: [undefined] }, { b: [null] }],
    [new Set(["a"]), ["a"]],
    [new Map([["a", new Map()]]), { a: {} }],
    [Int16Array.of(1, -1), [1, -1]],
    [Object.assign(Object.create({ inherited: 1 }), { own: 1 }), { own: 1 }],
    [JSON.parse('{"__proto__": 1}'), JSON.parse('{"__proto__": 1}')],
    [12n, 12],
    [circular, { self: [null] }, "CIRCULAR"],
    [Uint8Array.of(255), "/w==", "BYTES"],
    [new Date(Number.NaN), "Invalid Date", "NOT_FINITE"],
    [new Error("failed"), "Error: failed", "UNKNOWN_TYPE"],
    [/x/, "/x/", "UNKNOWN_TYPE"],
    [new Map([[1, "a"]]), { "1": "a" }, "KEY_NOT_TEXT"],
    [new Map<unknown, string>([[1, "a"], ["1", "b"]]), { "1": "a", "1 (2)": "b" }, "KEY_NOT_TEXT", "DUPLICATE_KEY"], // biome-ignore format: one row
  ];
  for (const [value, expected, ...reasons] of cases) assert.deepEqual(converted(value), [expected, reasons]);
});

test("references that are not 64-bit integers become a free-form field", () => {
  const review = sent({ accepted: [{ name: "S", items: [{ hawkeyeRefs: [1n, 2n ** 63n] }] }] });
  const item = review.accepted[0]?.items[0];
  assert.deepEqual(item?.hawkeyeRefs, []);
  assert.deepEqual(item?.additionalFields, { hawkeye_refs: [1, (2n ** 63n).toString()] });
  assert.deepEqual(listed(review), ["accepted.S[0].hawkeye_refs[1] NOT_EXACT"]);
});

test("the caller's review is not changed", () => {
  const fields = { x: Number.NaN };
  const review = { documentName: "a\ud83d", chatHistory: [fields] };
  sent(review);
  assert.deepEqual(review, { documentName: "a\ud83d", chatHistory: [{ x: Number.NaN }] });
});
