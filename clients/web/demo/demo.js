// The page of a review application: it gives the element its two functions and hears its events.
import { connect, reviewFromJson, startedByBackEnd, straightToService } from "/complete-review.js";

const element = document.querySelector("complete-review");
const form = document.querySelector("#review");
const { server } = await (await fetch("/settings.json")).json();
const review = reviewFromJson(await (await fetch("/review.json")).json());

/** The review with what the form says, as StartExport takes it. */
function request() {
  const field = (name) => form.elements.namedItem(name);
  const documents = [
    // A file that was chosen, or a text in its place.
    { kind: 1, file: field("before").files[0] ?? new File(["At ten the database stopped.\n"], "report.txt") },
    { kind: 2, file: field("after").files[0] ?? new File(["At 10:00 UTC the database stopped.\n"], "report.txt") },
  ];
  return {
    review: { ...review, documentName: field("document").value },
    documents: documents.map(({ kind, file }) => ({ kind, fileName: file.name, content: file })),
    fallback: field("fallback").value === "none" ? 2 : 1,
  };
}

const ways = {
  straight: () => straightToService(connect(server), request),
  "back-end": () => startedByBackEnd({ preview: "/api/preview", start: "/api/start" }),
};

function useMode() {
  const mode = new FormData(form).get("mode");
  element.setAttribute("document-name", form.elements.namedItem("document").value);
  Object.assign(element, ways[mode]());
}

// The element's own calls, to follow and to download, go to the service.
element.setAttribute("server", server);
useMode();
form.addEventListener("change", useMode);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  element.open();
});

const log = document.querySelector("#events");
for (const type of ["started", "completed", "failed", "cancelled", "closed", "new-review"]) {
  element.addEventListener(type, ({ detail }) => {
    const about = detail?.result?.location ?? detail?.name ?? detail?.error?.message ?? "";
    const item = document.createElement("li");
    item.textContent = about ? `${type}: ${about}` : type;
    item.dataset.type = type;
    log.append(item);
  });
}
element.addEventListener("new-review", () => form.reset());
