package com.tara.export.client;

import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.tara.export.v1.FeedbackSection;
import com.tara.export.v1.Review;
import io.grpc.Status;
import java.math.BigDecimal;
import java.util.List;

/**
 * Refuses whole numbers beyond ±2^53 in free fields: they were rounded when they became doubles, or
 * may have been, and a bundle has what the caller said or nothing.
 */
final class ExactNumbers {
  /** A double has every whole number up to here, and not every one beyond. */
  private static final double LARGEST_EXACT = (1L << 53) - 1;

  /** From here on numbers are written with an exponent, and nobody takes them for exact. */
  private static final double SMALLEST_INEXACT = 1e21;

  private ExactNumbers() {}

  static void check(Review review) {
    checkEntries(review.getActivityLogList(), "activity_log");
    checkEntries(review.getChatHistoryList(), "chat_history");
    checkEntries(review.getAuditLogsList(), "audit_logs");
    checkEntries(review.getActivityTimelineList(), "activity_timeline");
    check(review.getPerformanceMetrics(), "review.performance_metrics");
    checkSections(review.getSuggestionsList(), "suggestions");
    checkSections(review.getAcceptedList(), "accepted");
    checkSections(review.getRejectedList(), "rejected");
    checkSections(review.getUserCreatedList(), "user_created");
  }

  private static void checkEntries(List<Struct> entries, String list) {
    for (int index = 0; index < entries.size(); index++) {
      check(entries.get(index), "review.%s[%d]".formatted(list, index));
    }
  }

  private static void checkSections(List<FeedbackSection> sections, String list) {
    for (int section = 0; section < sections.size(); section++) {
      for (int item = 0; item < sections.get(section).getItemsCount(); item++) {
        String path = "review.%s[%d].items[%d].additional_fields".formatted(list, section, item);
        check(sections.get(section).getItems(item).getAdditionalFields(), path);
      }
    }
  }

  private static void check(Struct object, String path) {
    object.getFieldsMap().forEach((key, value) -> check(value, path + "." + key));
  }

  private static void check(Value value, String path) {
    switch (value.getKindCase()) {
      case STRUCT_VALUE -> check(value.getStructValue(), path);
      case LIST_VALUE -> {
        List<Value> members = value.getListValue().getValuesList();
        for (int index = 0; index < members.size(); index++) {
          check(members.get(index), path + "[" + index + "]");
        }
      }
      case NUMBER_VALUE -> check(value.getNumberValue(), path);
      default -> {}
    }
  }

  private static void check(double number, String path) {
    double size = Math.abs(number);
    if (size > LARGEST_EXACT && size < SMALLEST_INEXACT && number == Math.rint(number)) {
      String text = new BigDecimal(number).toPlainString();
      String description = text + " can't be sent without rounding it: make it a string";
      String message = "the request has a number that is not exact";
      throw TaraExportException.of(
              Status.Code.INVALID_ARGUMENT, TaraExportException.NOT_EXACT, message)
          .with(new FieldViolation(path, description));
    }
  }
}
