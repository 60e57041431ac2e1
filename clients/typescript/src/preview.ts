import { create } from "@bufbuild/protobuf";

import { type PreviewExportRequest, PreviewExportRequestSchema } from "./gen/tara/export/v1/service_pb.js";
import { documentInput, type ExportRequest } from "./request.js";
import { sourceOf } from "./source.js";

/** What PreviewExport asks of an export. Documents that are not given as bytes count 0 bytes. */
export function previewRequestOf({ review, documents = [] }: ExportRequest): PreviewExportRequest {
  return create(PreviewExportRequestSchema, {
    ...(review && { review }),
    documents: documents.map((document) => {
      const { kind, fileName = "", content } = documentInput(document);
      const sizeBytes = BigInt(content === undefined ? 0 : sourceOf(content).sizeBytes);
      return { kind, fileName, sizeBytes };
    }),
  });
}
