/** Defines `<complete-review>` and exports its ready-made back ends. */
import { CompleteReview } from "./element.js";
import { CompleteReviewStatus } from "./status-element.js";

export { connect, TaraExportError, type Token } from "tara-export/web";
export {
  type BackEndUrls,
  type DestinationChoice,
  directToService,
  type FallbackChoice,
  type PreviewChoice,
  type PreviewFunction,
  type ReviewBackend,
  reviewFromJson,
  type StartChoice,
  type StartFunction,
  viaBackEnd,
} from "./backend.js";
export { CompleteReview, type CompleteReviewEvent } from "./element.js";
export type { EventDetails } from "./events.js";
export { en as englishMessages, type Messages } from "./messages/en.js";
export type { ReviewStatus } from "./status.js";
export { CompleteReviewStatus } from "./status-element.js";

if (!customElements.get("complete-review")) customElements.define("complete-review", CompleteReview);
if (!customElements.get("complete-review-status")) {
  customElements.define("complete-review-status", CompleteReviewStatus);
}
