// Bundles the element and its dependencies into one file, dist/complete-review.js, with their licences in
// dist/THIRD_PARTY_LICENSES.txt.
import { readdir, readFile, writeFile } from "node:fs/promises";

import { build } from "esbuild";

const { metafile } = await build({
  entryPoints: ["src/index.ts"],
  outfile: "dist/complete-review.js",
  bundle: true,
  minify: true,
  sourcemap: true,
  metafile: true,
  format: "esm",
  target: ["es2022"],
  loader: { ".css": "text" },
  legalComments: "linked",
  // Module scripts are always UTF-8.
  charset: "utf8",
  logLevel: "info",
});

/** The bundled files of each package, by the package's folder. */
const packages = new Map();
for (const path of Object.keys(metafile.inputs)) {
  const [folder] = /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(path) ?? [];
  if (folder) packages.set(folder, [...(packages.get(folder) ?? []), path]);
}
const sections = [];
for (const [folder, files] of [...packages].sort()) {
  const { name, version, license } = JSON.parse(await readFile(`${folder}/package.json`, "utf8"));
  const notices = new Set();
  for (const file of await readdir(folder)) {
    if (/^(licen[cs]e|notice)/i.test(file)) notices.add((await readFile(`${folder}/${file}`, "utf8")).trim());
  }
  for (const file of files) {
    const comments = (await readFile(file, "utf8")).match(/(^[ \t]*\/\/.*\n)+/gm) ?? [];
    for (const comment of comments.filter((text) => text.includes("Copyright"))) {
      notices.add(comment.replace(/^[ \t]*\/\/ ?/gm, "").trim());
    }
  }
  sections.push([`${name} ${version} (${license})`, ...notices].join("\n\n"));
}
const title = "complete-review.js contains these packages. The text of the Apache License 2.0 is in the file LICENSE.";
await writeFile("dist/THIRD_PARTY_LICENSES.txt", `${[title, ...sections].join(`\n\n${"-".repeat(80)}\n\n`)}\n`);
