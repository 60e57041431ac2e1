package com.tara.export.client;

import com.tara.export.v1.Document;
import com.tara.export.v1.ExportEvent;

/** News of an export. */
public sealed interface ExportUpdate {
  /**
   * A large document goes ahead of the request.
   *
   * @param kind which document
   * @param fileName its name
   * @param doneBytes how many bytes are there
   * @param sizeBytes how many there will be
   */
  record Uploading(Document.Kind kind, String fileName, long doneBytes, long sizeBytes)
      implements ExportUpdate {}

  /**
   * The server says something.
   *
   * @param event what it says
   */
  record Told(ExportEvent event) implements ExportUpdate {}
}
