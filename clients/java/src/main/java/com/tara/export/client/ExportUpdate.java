package com.tara.export.client;

import com.tara.export.v1.Document;
import com.tara.export.v1.ExportEvent;

/** An update about an export. */
public sealed interface ExportUpdate {
  /**
   * Progress of a large document that is uploaded before the request.
   *
   * @param kind the kind of the document
   * @param fileName the file name of the document
   * @param doneBytes the number of uploaded bytes
   * @param sizeBytes the size of the document
   */
  record Uploading(Document.Kind kind, String fileName, long doneBytes, long sizeBytes)
      implements ExportUpdate {}

  /**
   * An event from the server.
   *
   * @param event the event
   */
  record Event(ExportEvent event) implements ExportUpdate {}
}
