package com.tara.export.client;

import com.tara.export.v1.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;

/**
 * What is added to a request, and who is told how it goes. Each method changes this object, and
 * returns it.
 */
public final class ExportOptions {
  record Attachment(Document.Kind kind, String fileName, Content content) {}

  private final List<Attachment> attachments = new ArrayList<>();
  private Consumer<ExportUpdate> listener = update -> {};

  /** Adds a file as one of the documents, whatever its size. */
  public ExportOptions attach(Document.Kind kind, Path file) {
    try {
      return attach(kind, file.getFileName().toString(), Content.of(file));
    } catch (IOException unreadable) {
      throw TaraExportException.file(unreadable);
    }
  }

  /** Adds bytes that are somewhere else as one of the documents, whatever their size. */
  public ExportOptions attach(Document.Kind kind, String fileName, Content content) {
    attachments.add(new Attachment(kind, fileName, content));
    return this;
  }

  /**
   * Has a function called with all news of the export, one after the other, on the thread that
   * exports. What it throws ends the waiting; an export that was accepted goes on.
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
