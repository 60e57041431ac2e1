package com.tara.export.client;

import com.tara.export.v1.Export;
import com.tara.export.v1.ListExportsRequest;
import com.tara.export.v1.ListExportsResponse;
import java.util.Collections;
import java.util.Iterator;
import java.util.NoSuchElementException;

/** Exports, newest first. Pages are fetched on demand; each iteration starts again. */
final class ExportList implements Iterable<Export> {
  private final Connection connection;
  private final ListExportsRequest first;

  ExportList(Connection connection, ListExportsRequest first) {
    this.connection = connection;
    this.first = first;
  }

  @Override
  public Iterator<Export> iterator() {
    return new Iterator<>() {
      private ListExportsRequest next = first;
      private Iterator<Export> page = Collections.emptyIterator();

      @Override
      public boolean hasNext() {
        // A page can be empty without being the last.
        while (!page.hasNext() && next != null) {
          ListExportsResponse response = fetch(next);
          response.getExportsList().forEach(ServerNames::checkListed);
          page = response.getExportsList().iterator();
          String token = response.getNextPageToken();
          next = token.isEmpty() ? null : next.toBuilder().setPageToken(token).build();
        }
        return page.hasNext();
      }

      @Override
      public Export next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        return page.next();
      }
    };
  }

  private ListExportsResponse fetch(ListExportsRequest request) {
    return connection.call(service -> service.listExports(request));
  }
}
