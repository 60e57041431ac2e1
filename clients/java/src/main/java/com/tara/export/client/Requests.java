package com.tara.export.client;

import com.google.protobuf.UnsafeByteOperations;
import com.tara.export.v1.Document;
import com.tara.export.v1.StartExportRequest;
import io.grpc.Status;
import java.io.IOException;
import java.util.UUID;

/** Builds the request message, and uploads documents that are too large for it. */
final class Requests {
  /**
   * Larger documents are uploaded before the request. Three such documents and a review fit into
   * the default limit.
   */
  private static final int MAX_INLINE_BYTES = 8 * 1024 * 1024;

  private final Connection connection;
  private final ExportOptions options;

  Requests(Connection connection, ExportOptions options) {
    this.connection = connection;
    this.options = options;
  }

  StartExportRequest prepare(StartExportRequest given) throws IOException {
    StartExportRequest.Builder request = given.toBuilder().clearDocuments();
    if (given.hasReview()) {
      request.setReview(SendableReview.of(given.getReview()));
    }
    for (Document document : given.getDocumentsList()) {
      request.addDocuments(prepare(document));
    }
    for (ExportOptions.Attachment attachment : options.attachments()) {
      Document.Builder document =
          Document.newBuilder().setKind(attachment.kind()).setFileName(attachment.fileName());
      request.addDocuments(fill(document, attachment.content()));
    }
    if (request.getRequestId().isEmpty()) {
      request.setRequestId(UUID.randomUUID().toString());
    }
    SendableReview.replaceFileNames(request);
    StartExportRequest prepared = request.build();
    if (prepared.getSerializedSize() > Connection.MAX_MESSAGE_BYTES) {
      String message =
          "the request is too large: %d bytes, at most %d bytes can be sent"
              .formatted(prepared.getSerializedSize(), Connection.MAX_MESSAGE_BYTES);
      throw TaraExportException.of(
          Status.Code.RESOURCE_EXHAUSTED, TaraExportException.REQUEST_TOO_LARGE, message);
    }
    return prepared;
  }

  private Document prepare(Document given) throws IOException {
    if (given.getContent().size() <= MAX_INLINE_BYTES) {
      return given;
    }
    return fill(given.toBuilder().clearContent(), Content.of(given.getContent().toByteArray()));
  }

  private Document fill(Document.Builder document, Content content) throws IOException {
    if (content.sizeBytes() <= MAX_INLINE_BYTES) {
      byte[] bytes = content.read(0, (int) content.sizeBytes());
      return document.setContent(UnsafeByteOperations.unsafeWrap(bytes)).build();
    }
    UploadedDocument uploaded =
        new Uploader(
                connection,
                content,
                doneBytes ->
                    options
                        .listener()
                        .accept(
                            new ExportUpdate.Uploading(
                                document.getKind(),
                                document.getFileName(),
                                doneBytes,
                                content.sizeBytes())))
            .run();
    if (document.getSha256().isEmpty()) {
      document.setSha256(uploaded.sha256());
    }
    return document.setUpload(uploaded.name()).build();
  }
}
