// Bundles the element and its dependencies into one file, dist/complete-review.js.
import { build } from "esbuild";

await build({
  entryPoints: ["src/index.ts"],
  outfile: "dist/complete-review.js",
  bundle: true,
  minify: true,
  sourcemap: true,
  format: "esm",
  target: ["es2022"],
  loader: { ".css": "text" },
  legalComments: "linked",
  logLevel: "info",
});
