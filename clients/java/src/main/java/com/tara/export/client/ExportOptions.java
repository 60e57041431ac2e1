package com.tara.export.client;

import com.tara.export.v1.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * Attachments of a request, and the listener for its updates. Each method changes this object and
 * returns it.
 */
public final class ExportOptions {
  record Attachment(Document.Kind kind, String fileName, Content content) {}

  private final List<Attachment> attachments = new ArrayList<>();
  private Consumer<ExportUpdate> listener = update -> {};

  /** Adds a file of any size as a document. */
  public ExportOptions attach(Document.Kind kind, Path file) {
    try {
      return attach(kind, file.getFileName().toString(), Content.of(file));
    } catch (IOException unreadable) {
      throw TaraExportException.file(unreadable);
    }
  }

  /** Adds content of any size as a document. */
  public ExportOptions attach(Document.Kind kind, String fileName, Content content) {
    attachments.add(new Attachment(kind, fileName, content));
    return this;
  }

  /**
   * Sets the listener for all updates of the export. It is called sequentially on the exporting
   * thread. An exception of the listener ends the call; an accepted export continues.
   */
  public ExportOptions onUpdate(Consumer<ExportUpdate> listener) {
    this.listener = listener;
    return this;
  }

  List<Attachment> attachments() {
    return attachments;
  }

  Consumer<ExportUpdate> listener() {
    return listener;
  }
}
