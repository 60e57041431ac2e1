package com.tara.export.client;

import com.google.protobuf.UnsafeByteOperations;
import com.tara.export.v1.Document;
import com.tara.export.v1.StartExportRequest;
import io.grpc.Status;
import java.io.IOException;
import java.util.UUID;

/** Makes the message that is sent, and uploads what is too large for it. */
final class Requests {
  /**
   * What is larger is uploaded before the request: three documents and a review fit into what
   * servers take by default.
   */
  private static final int LARGEST_INLINE_BYTES = 8 * 1024 * 1024;

  private final Connection connection;
  private final ExportOptions options;

  Requests(Connection connection, ExportOptions options) {
    this.connection = connection;
    this.options = options;
  }

  StartExportRequest prepare(StartExportRequest given) throws IOException {
    ExactNumbers.check(given.getReview());
    StartExportRequest.Builder request = given.toBuilder().clearDocuments();
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
    StartExportRequest prepared = request.build();
    if (prepared.getSerializedSize() > Connection.MAX_MESSAGE_BYTES) {
      String message =
          "the request has %d bytes; at most %d can be sent"
              .formatted(prepared.getSerializedSize(), Connection.MAX_MESSAGE_BYTES);
      throw TaraExportException.of(
          Status.Code.RESOURCE_EXHAUSTED, TaraExportException.REQUEST_TOO_LARGE, message);
    }
    return prepared;
  }

  private Document prepare(Document given) throws IOException {
    if (given.getContent().size() <= LARGEST_INLINE_BYTES) {
      return given;
    }
    return fill(given.toBuilder().clearContent(), Content.of(given.getContent().toByteArray()));
  }

  private Document fill(Document.Builder document, Content content) throws IOException {
    if (content.sizeBytes() <= LARGEST_INLINE_BYTES) {
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
