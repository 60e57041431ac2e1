package com.tara.export.client;

import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Function;

/**
 * The items of a list. Pages are fetched on demand; each iteration starts again.
 *
 * @param firstToken the token of the first page
 * @param fetch returns the page of a token
 */
record Pages<T>(String firstToken, Function<String, Page<T>> fetch) implements Iterable<T> {
  /**
   * One page.
   *
   * @param nextToken the token of the next page; empty after the last page
   */
  record Page<T>(List<T> items, String nextToken) {}

  @Override
  public Iterator<T> iterator() {
    return new Iterator<>() {
      private String token = firstToken;
      private boolean isLast;
      private Iterator<T> items = Collections.emptyIterator();

      @Override
      public boolean hasNext() {
        // A page can be empty without being the last.
        while (!items.hasNext() && !isLast) {
          Page<T> page = fetch.apply(token);
          items = page.items().iterator();
          token = page.nextToken();
          isLast = token.isEmpty();
        }
        return items.hasNext();
      }

      @Override
      public T next() {
        if (!hasNext()) {
          throw new NoSuchElementException();
        }
        return items.next();
      }
    };
  }
}
