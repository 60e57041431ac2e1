package com.tara.export.client;

import com.google.protobuf.ListValue;
import com.google.protobuf.NullValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.tara.export.v1.FeedbackItem;
import com.tara.export.v1.FeedbackSection;
import com.tara.export.v1.Replacement;
import com.tara.export.v1.Review;
import com.tara.export.v1.StartExportRequest;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * Replaces the values of a review that a request cannot have: halves of surrogate pairs, numbers
 * that are not finite or may have been rounded when they became doubles, and lists and objects that
 * are nested too deep. Each of them is appended to the review's replacements.
 */
public final class SendableReview {
  /** The largest integer up to which a double represents every integer. */
  private static final double LARGEST_EXACT = (1L << 53) - 1;

  /** From here on numbers are written with an exponent and are not expected to be exact. */
  private static final double SMALLEST_INEXACT = 1e21;

  /** Nesting depth of free-form fields. Deeper lists and objects become JSON text. */
  private static final int MAX_DEPTH = 30;

  /** Nesting depth of such a text. Deeper lists and objects become null. */
  private static final int MAX_TEXT_DEPTH = 100;

  private static final int MAX_ENTRIES = 1_000;

  /** Limit of all paths and reasons of a request, and of one path. */
  private static final int MAX_BYTES = 128 * 1024;

  private static final int MAX_PATH_BYTES = 1024;

  /** Space for the last entry, which counts the values that are not listed. */
  private static final int RESERVED_BYTES = 128;

  private static final String NOT_UNICODE = "NOT_UNICODE";
  private static final String NOT_FINITE = "NOT_FINITE";
  private static final String NOT_EXACT = "NOT_EXACT";
  private static final String DUPLICATE_KEY = "DUPLICATE_KEY";
  private static final String TOO_DEEP = "TOO_DEEP";

  private static final Pattern IDENTIFIER = Pattern.compile("[A-Za-z_][A-Za-z0-9_]*");

  private final int existing;
  private final List<Replacement> added = new ArrayList<>();
  private int bytes;
  private int unlisted;

  private SendableReview(Review review) {
    existing = review.getReplacementsCount();
    review.getReplacementsList().forEach(entry -> bytes += size(entry));
  }

  /** Returns the review without such values. {@link TaraExportClient#export} calls it. */
  public static Review of(Review review) {
    SendableReview values = new SendableReview(review);
    Review.Builder builder = review.toBuilder();
    values.convert(review, builder);
    if (values.added.isEmpty() && values.unlisted == 0) {
      return review;
    }
    return builder.addAllReplacements(values.replacements()).build();
  }

  /** Replaces file names that are not Unicode, and lists them in the request's review. */
  static void replaceFileNames(StartExportRequest.Builder request) {
    SendableReview values = new SendableReview(request.getReview());
    for (int index = 0; index < request.getDocumentsCount(); index++) {
      int at = index;
      values.text(
          request.getDocuments(index).getFileName(),
          "documents[" + index + "].file_name",
          name -> request.getDocumentsBuilder(at).setFileName(name));
    }
    if (!values.added.isEmpty() && request.hasReview()) {
      request.getReviewBuilder().addAllReplacements(values.replacements());
    }
  }

  private List<Replacement> replacements() {
    if (unlisted > 0 && existing + added.size() < MAX_ENTRIES) {
      String reason = "%d more values were replaced and are not listed".formatted(unlisted);
      added.add(Replacement.newBuilder().setPath("review").setReason(reason).build());
    }
    return added;
  }

  private void add(String path, String reason) {
    Replacement entry = Replacement.newBuilder().setPath(cut(path)).setReason(reason).build();
    boolean isFull =
        existing + added.size() + 1 >= MAX_ENTRIES
            || bytes + size(entry) > MAX_BYTES - RESERVED_BYTES;
    if (isFull || unlisted > 0) {
      unlisted++;
      return;
    }
    bytes += size(entry);
    added.add(entry);
  }

  private void convert(Review given, Review.Builder review) {
    text(given.getDocumentName(), "document_name", review::setDocumentName);
    text(given.getSessionId(), "session_id", review::setSessionId);
    text(given.getReviewer(), "reviewer", review::setReviewer);
    text(given.getGuidelinesName(), "guidelines_name", review::setGuidelinesName);
    text(given.getGuidelinesPreference(), "guidelines_preference", review::setGuidelinesPreference);
    for (int index = 0; index < given.getSectionNamesCount(); index++) {
      int at = index;
      text(
          given.getSectionNames(index),
          "section_names[" + index + "]",
          name -> review.setSectionNames(at, name));
    }
    review
        .clearSuggestions()
        .addAllSuggestions(sections(given.getSuggestionsList(), "suggestions"));
    review.clearAccepted().addAllAccepted(sections(given.getAcceptedList(), "accepted"));
    review.clearRejected().addAllRejected(sections(given.getRejectedList(), "rejected"));
    review
        .clearUserCreated()
        .addAllUserCreated(sections(given.getUserCreatedList(), "user_created"));
    review
        .clearActivityLog()
        .addAllActivityLog(objects(given.getActivityLogList(), "activity_log"));
    review
        .clearChatHistory()
        .addAllChatHistory(objects(given.getChatHistoryList(), "chat_history"));
    review.clearAuditLogs().addAllAuditLogs(objects(given.getAuditLogsList(), "audit_logs"));
    review
        .clearActivityTimeline()
        .addAllActivityTimeline(objects(given.getActivityTimelineList(), "activity_timeline"));
    if (given.hasPerformanceMetrics()) {
      review.setPerformanceMetrics(object(given.getPerformanceMetrics(), "performance_metrics", 1));
    }
  }

  private void text(String text, String path, Consumer<String> set) {
    String valid = valid(text);
    if (!valid.equals(text)) {
      add(path, NOT_UNICODE);
      set.accept(valid);
    }
  }

  private List<Struct> objects(List<Struct> given, String path) {
    List<Struct> converted = new ArrayList<>();
    for (int index = 0; index < given.size(); index++) {
      converted.add(object(given.get(index), path + "[" + index + "]", 1));
    }
    return converted;
  }

  private List<FeedbackSection> sections(List<FeedbackSection> given, String list) {
    Map<String, Integer> names = new HashMap<>();
    for (FeedbackSection section : given) {
      if (isValid(section.getName())) {
        names.put(section.getName(), 1);
      }
    }
    List<FeedbackSection> converted = new ArrayList<>();
    for (FeedbackSection section : given) {
      String name = section.getName();
      if (!isValid(name)) {
        name = name(name, list, names);
      }
      FeedbackSection.Builder builder = section.toBuilder().setName(name).clearItems();
      String path = keyPath(list, name);
      for (int index = 0; index < section.getItemsCount(); index++) {
        builder.addItems(item(section.getItems(index), path + "[" + index + "]"));
      }
      converted.add(builder.build());
    }
    return converted;
  }

  /** Returns a valid name that is unique in {@code names}, and adds it there. */
  private String name(String name, String path, Map<String, Integer> names) {
    String valid = valid(name);
    String unique = valid;
    String reason = NOT_UNICODE;
    while (names.containsKey(unique)) {
      unique = "%s (%d)".formatted(valid, names.merge(valid, 1, Integer::sum));
      reason = DUPLICATE_KEY;
    }
    names.put(unique, 1);
    add(keyPath(path, unique), reason);
    return unique;
  }

  private FeedbackItem item(FeedbackItem given, String path) {
    FeedbackItem.Builder item = given.toBuilder();
    text(given.getId(), path + ".id", item::setId);
    text(given.getType(), path + ".type", item::setType);
    text(given.getCategory(), path + ".category", item::setCategory);
    text(given.getDescription(), path + ".description", item::setDescription);
    text(given.getSuggestion(), path + ".suggestion", item::setSuggestion);
    text(given.getExample(), path + ".example", item::setExample);
    text(given.getRiskLevel(), path + ".risk_level", item::setRiskLevel);
    text(given.getTimestamp(), path + ".timestamp", item::setTimestamp);
    text(given.getAiReference(), path + ".ai_reference", item::setAiReference);
    text(given.getAiId(), path + ".ai_id", item::setAiId);
    for (int index = 0; index < given.getQuestionsCount(); index++) {
      int at = index;
      text(
          given.getQuestions(index),
          path + ".questions[" + index + "]",
          question -> item.setQuestions(at, question));
    }
    if (given.hasConfidence() && !Double.isFinite(given.getConfidence())) {
      Value confidence = Value.newBuilder().setNumberValue(given.getConfidence()).build();
      item.getAdditionalFieldsBuilder().putFields("confidence", confidence);
      item.clearConfidence();
    }
    if (item.hasAdditionalFields()) {
      item.setAdditionalFields(object(item.getAdditionalFields(), path, 1));
    }
    return item.build();
  }

  /** Converts an object with this nesting depth. */
  private Struct object(Struct given, String path, int level) {
    Map<String, Integer> names = new HashMap<>();
    for (String key : given.getFieldsMap().keySet()) {
      if (isValid(key)) {
        names.put(key, 1);
      }
    }
    Struct.Builder object = Struct.newBuilder();
    // In a fixed order, because the same review must create the same request.
    new TreeMap<>(given.getFieldsMap())
        .forEach(
            (key, value) -> {
              String name = isValid(key) ? key : name(key, path, names);
              object.putFields(name, value(value, keyPath(path, name), level + 1));
            });
    return object.build();
  }

  private Value value(Value value, String path, int level) {
    return switch (value.getKindCase()) {
      case STRING_VALUE -> {
        Value.Builder builder = value.toBuilder();
        text(value.getStringValue(), path, builder::setStringValue);
        yield builder.build();
      }
      case NUMBER_VALUE -> number(value, path, level);
      case LIST_VALUE, STRUCT_VALUE -> nested(value, path, level);
      // A value without a kind is invalid; other languages write null.
      case KIND_NOT_SET -> NULL;
      default -> value;
    };
  }

  private static final Value NULL = Value.newBuilder().setNullValue(NullValue.NULL_VALUE).build();

  private Value number(Value value, String path, int level) {
    double number = value.getNumberValue();
    if (!Double.isFinite(number)) {
      add(path, NOT_FINITE);
      // NaN, Infinity or -Infinity.
      return string(Double.toString(number));
    }
    double size = Math.abs(number);
    boolean isInexact =
        size > LARGEST_EXACT && size < SMALLEST_INEXACT && number == Math.rint(number);
    // A text of JSON has all digits.
    if (isInexact && level <= MAX_DEPTH + 1) {
      add(path, NOT_EXACT);
      return string(new BigDecimal(number).toPlainString());
    }
    return value;
  }

  private static Value string(String text) {
    return Value.newBuilder().setStringValue(text).build();
  }

  private Value nested(Value value, String path, int level) {
    if (level > MAX_TEXT_DEPTH) {
      add(path, TOO_DEEP);
      return NULL;
    }
    Value.Builder converted = Value.newBuilder();
    if (value.hasListValue()) {
      ListValue.Builder list = ListValue.newBuilder();
      for (int index = 0; index < value.getListValue().getValuesCount(); index++) {
        Value element = value.getListValue().getValues(index);
        list.addValues(value(element, path + "[" + index + "]", level + 1));
      }
      converted.setListValue(list);
    } else {
      converted.setStructValue(object(value.getStructValue(), path, level));
    }
    if (level != MAX_DEPTH + 1) {
      return converted.build();
    }
    add(path, TOO_DEEP);
    StringBuilder text = new StringBuilder();
    write(converted.build(), text);
    return string(text.toString());
  }

  /** Writes the value without spaces, with the keys in ascending order. */
  private static void write(Value value, StringBuilder text) {
    switch (value.getKindCase()) {
      case BOOL_VALUE -> text.append(value.getBoolValue());
      case NUMBER_VALUE -> text.append(digits(value.getNumberValue()));
      case STRING_VALUE -> quote(value.getStringValue(), text);
      case LIST_VALUE -> {
        String separator = "[";
        for (Value element : value.getListValue().getValuesList()) {
          text.append(separator);
          write(element, text);
          separator = ",";
        }
        text.append(separator.equals("[") ? "[]" : "]");
      }
      case STRUCT_VALUE -> {
        String separator = "{";
        for (Map.Entry<String, Value> entry :
            new TreeMap<>(value.getStructValue().getFieldsMap()).entrySet()) {
          text.append(separator);
          quote(entry.getKey(), text);
          text.append(':');
          write(entry.getValue(), text);
          separator = ",";
        }
        text.append(separator.equals("{") ? "{}" : "}");
      }
      default -> text.append("null");
    }
  }

  private static String digits(double number) {
    boolean isInteger = number == Math.rint(number) && Math.abs(number) < SMALLEST_INEXACT;
    return isInteger ? new BigDecimal(number).toPlainString() : Double.toString(number);
  }

  private static void quote(String value, StringBuilder text) {
    text.append('"');
    for (int index = 0; index < value.length(); index++) {
      char character = value.charAt(index);
      switch (character) {
        case '"', '\\' -> text.append('\\').append(character);
        case '\n' -> text.append("\\n");
        case '\r' -> text.append("\\r");
        case '\t' -> text.append("\\t");
        case '\b' -> text.append("\\b");
        case '\f' -> text.append("\\f");
        default -> {
          if (character < ' ') {
            text.append("\\u%04x".formatted((int) character));
          } else {
            text.append(character);
          }
        }
      }
    }
    text.append('"');
  }

  private static boolean isValid(String text) {
    return valid(text).equals(text);
  }

  /** Replaces each half of a surrogate pair by U+FFFD. */
  private static String valid(String text) {
    StringBuilder valid = new StringBuilder(text.length());
    text.codePoints()
        .map(
            point ->
                point >= Character.MIN_SURROGATE && point <= Character.MAX_SURROGATE
                    ? 0xfffd
                    : point)
        .forEach(valid::appendCodePoint);
    return valid.toString();
  }

  private static String keyPath(String path, String key) {
    if (IDENTIFIER.matcher(key).matches()) {
      return path + "." + key;
    }
    StringBuilder quoted = new StringBuilder(path).append('[');
    quote(key, quoted);
    return quoted.append(']').toString();
  }

  private static String cut(String path) {
    byte[] encoded = path.getBytes(StandardCharsets.UTF_8);
    if (encoded.length <= MAX_PATH_BYTES) {
      return path;
    }
    int end = MAX_PATH_BYTES - 3;
    while ((encoded[end] & 0xc0) == 0x80) {
      end--;
    }
    return new String(encoded, 0, end, StandardCharsets.UTF_8) + "…";
  }

  private static int size(Replacement entry) {
    return entry.getPathBytes().size() + entry.getReasonBytes().size();
  }
}
