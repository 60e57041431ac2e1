import { create } from "@bufbuild/protobuf";

import { type PreviewExportRequest, PreviewExportRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { sendableReview, unicode } from "./replaced.js";
import { documentInput, type ExportRequest } from "./request.js";
import { sourceOf } from "./source.js";

/** Builds a PreviewExport request. Documents that are not given as bytes have a size of 0. */
export function previewRequestOf({ review, documents = [] }: ExportRequest): PreviewExportRequest {
  return create(PreviewExportRequestSchema, {
    ...(review && { review: sendableReview(review) }),
    documents: documents.map((document) => {
      const { kind, fileName = "", content } = documentInput(document);
      const sizeBytes = BigInt(content === undefined ? 0 : sourceOf(content).sizeBytes);
      return { kind, fileName: unicode(fileName), sizeBytes };
    }),
  });
}
