import assert from "node:assert/strict";
import { test } from "node:test";

import { uuidOf } from "../src/ids.js";

test("id derived from a digest is the same in every client", () => {
  const sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
  assert.equal(uuidOf(sha256), "ba7816bf-8f01-8fea-8141-40de5dae2223");
});
