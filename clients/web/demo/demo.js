// The page of a review application: sets the two functions of the element and logs its events.
import { connect, directToService, reviewFromJson, viaBackEnd } from "/complete-review.js";

const element = document.querySelector("complete-review");
const form = document.querySelector("#review");
const { server, needsToken } = await (await fetch("/settings.json")).json();
/** Called before every call. */
const token = needsToken ? async () => (await (await fetch("/api/token")).json()).token : undefined;
const review = reviewFromJson(await (await fetch("/review.json")).json());

/** Returns the export request: the review with the values of the form. */
function request() {
  const field = (name) => form.elements.namedItem(name);
  const documents = [
    // The chosen file, or a sample text.
    { kind: 1, file: field("before").files[0] ?? new File(["At ten the database stopped.\n"], "report.txt") },
    { kind: 2, file: field("after").files[0] ?? new File(["At 10:00 UTC the database stopped.\n"], "report.txt") },
  ];
  return {
    review: { ...review, documentName: field("document").value },
    documents: documents.map(({ kind, file }) => ({ kind, fileName: file.name, content: file })),
    fallback: field("fallback").value === "none" ? 2 : 1,
  };
}

const backends = {
  direct: () => directToService(connect(server, { token, language: () => element.texts.locale }), request),
  "back-end": () => viaBackEnd({ preview: "/api/preview", start: "/api/start" }),
};

function useMode() {
  const mode = new FormData(form).get("mode");
  element.setAttribute("document-name", form.elements.namedItem("document").value);
  Object.assign(element, backends[mode]());
}

// The element follows exports and downloads bundles directly from the service.
element.setAttribute("server", server);
element.token = token;
useMode();
form.addEventListener("change", useMode);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  element.open();
});

const log = document.querySelector("#events");
for (const type of ["started", "completed", "synced", "failed", "cancelled", "closed", "choose-files", "new-review"]) {
  element.addEventListener(type, ({ detail }) => {
    const description =
      detail?.result?.location ?? detail?.name ?? detail?.error?.message ?? detail?.fileNames?.join() ?? "";
    const item = document.createElement("li");
    item.textContent = description ? `${type}: ${description}` : type;
    item.dataset.type = type;
    log.append(item);
  });
}
element.addEventListener("new-review", () => form.reset());
element.addEventListener("choose-files", () => form.elements.namedItem("before").focus());

// The page is ready.
form.querySelector("button").disabled = false;
