/** Defines `<complete-review>` and exports its ready-made back ends. */
import { CompleteReview } from "./element.js";

export { connect, TaraExportError, type Token } from "tara-export/web";
export * from "./backend.js";
export { CompleteReview, type CompleteReviewEvent } from "./element.js";
export type { EventDetails } from "./events.js";

if (!customElements.get("complete-review")) customElements.define("complete-review", CompleteReview);
