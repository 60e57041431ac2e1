package com.tara.export.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.google.protobuf.ListValue;
import com.google.protobuf.NullValue;
import com.google.protobuf.Struct;
import com.google.protobuf.Value;
import com.tara.export.v1.FeedbackItem;
import com.tara.export.v1.FeedbackSection;
import com.tara.export.v1.Replacement;
import com.tara.export.v1.Review;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The cases of clients/values.json, which all clients share. */
class SendableReviewTest {
  private static JsonNode table() throws IOException {
    return new JsonMapper().readTree(Path.of("../values.json").toFile());
  }

  private static String text(JsonNode value) {
    if (value.isTextual()) {
      return value.textValue();
    }
    StringBuilder text = new StringBuilder();
    for (String unit : value.get("$utf16").textValue().split(" ")) {
      text.append((char) Integer.parseInt(unit, 16));
    }
    return text.toString();
  }

  private static double number(JsonNode value) {
    JsonNode digits = value.has("$number") ? value.get("$number") : value.get("$integer");
    return Double.parseDouble(digits.textValue());
  }

  /** Builds the value that a case describes. */
  private static Value value(JsonNode value) {
    Value.Builder built = Value.newBuilder();
    if (value.isArray()) {
      ListValue.Builder list = ListValue.newBuilder();
      value.forEach(element -> list.addValues(value(element)));
      return built.setListValue(list).build();
    }
    if (value.isNumber()) {
      return built.setNumberValue(value.doubleValue()).build();
    }
    if (value.isBoolean()) {
      return built.setBoolValue(value.booleanValue()).build();
    }
    if (value.isNull()) {
      return built.setNullValue(NullValue.NULL_VALUE).build();
    }
    if (value.isTextual() || value.has("$utf16")) {
      return built.setStringValue(text(value)).build();
    }
    if (value.has("$number") || value.has("$integer")) {
      return built.setNumberValue(number(value)).build();
    }
    if (value.has("$nested")) {
      Value nested = value(value.get("$nested").get(1));
      for (int level = 0; level < value.get("$nested").get(0).intValue(); level++) {
        ListValue list = ListValue.newBuilder().addValues(nested).build();
        nested = Value.newBuilder().setListValue(list).build();
      }
      return nested;
    }
    Struct.Builder fields = Struct.newBuilder();
    if (value.has("$entries")) {
      value.get("$entries").forEach(e -> fields.putFields(text(e.get(0)), value(e.get(1))));
    } else {
      value.fieldNames().forEachRemaining(key -> fields.putFields(key, value(value.get(key))));
    }
    return built.setStructValue(fields).build();
  }

  private static List<String> expected(JsonNode row, String... places) {
    List<String> expected = new ArrayList<>();
    for (String place : places) {
      row.get("replacements")
          .forEach(e -> expected.add(place + e.get(0).textValue() + " " + e.get(1).textValue()));
    }
    Collections.sort(expected);
    return expected;
  }

  private static List<String> listed(Review review) {
    List<String> listed = new ArrayList<>();
    review.getReplacementsList().forEach(e -> listed.add(e.getPath() + " " + e.getReason()));
    Collections.sort(listed);
    return listed;
  }

  @Test
  void freeFormValuesOfTheTable() throws IOException {
    for (JsonNode row : table().get("values")) {
      if (row.has("exact")) {
        continue; // A Struct has doubles only.
      }
      String name = row.get("name").textValue();
      Struct fields = Struct.newBuilder().putFields("x", value(row.get("value"))).build();
      FeedbackItem item = FeedbackItem.newBuilder().setAdditionalFields(fields).build();
      Review review =
          SendableReview.of(
              Review.newBuilder()
                  .addSuggestions(FeedbackSection.newBuilder().setName("Section 1").addItems(item))
                  .addChatHistory(fields)
                  .setPerformanceMetrics(fields)
                  .build());
      Struct sent = Struct.newBuilder().putFields("x", value(row.get("sent"))).build();
      assertEquals(sent, review.getSuggestions(0).getItems(0).getAdditionalFields(), name);
      assertEquals(sent, review.getChatHistory(0), name);
      assertEquals(sent, review.getPerformanceMetrics(), name);
      // A text that is not Unicode would become another one, without an error.
      assertEquals(review, Review.parseFrom(review.toByteArray()), name);
      List<String> expected =
          expected(
              row, "suggestions[\"Section 1\"][0].x", "chat_history[0].x", "performance_metrics.x");
      assertEquals(expected, listed(review), name);
    }
  }

  @Test
  void itemsOfTheTable() throws IOException {
    for (JsonNode row : table().get("items")) {
      String name = row.get("name").textValue();
      JsonNode given = row.get("item");
      FeedbackItem.Builder item = FeedbackItem.newBuilder();
      given
          .fieldNames()
          .forEachRemaining(
              key -> {
                JsonNode value = given.get(key);
                switch (key) {
                  case "confidence" -> item.setConfidence(number(value));
                  case "id" -> item.setId(text(value));
                  case "description" -> item.setDescription(text(value));
                  case "questions" -> value.forEach(text -> item.addQuestions(text(text)));
                  default -> item.getAdditionalFieldsBuilder().putFields(key, value(value));
                }
              });
      FeedbackSection section = FeedbackSection.newBuilder().setName("S").addItems(item).build();
      Review review = SendableReview.of(Review.newBuilder().addAccepted(section).build());
      FeedbackItem converted = review.getAccepted(0).getItems(0);
      Struct.Builder sent = converted.getAdditionalFields().toBuilder();
      if (converted.hasId()) {
        sent.putFields("id", Value.newBuilder().setStringValue(converted.getId()).build());
      }
      if (converted.hasDescription()) {
        String description = converted.getDescription();
        sent.putFields("description", Value.newBuilder().setStringValue(description).build());
      }
      if (converted.getQuestionsCount() > 0) {
        ListValue.Builder questions = ListValue.newBuilder();
        converted
            .getQuestionsList()
            .forEach(text -> questions.addValues(Value.newBuilder().setStringValue(text)));
        sent.putFields("questions", Value.newBuilder().setListValue(questions).build());
      }
      assertEquals(value(row.get("sent")).getStructValue(), sent.build(), name);
      assertEquals(expected(row, "accepted.S[0]"), listed(review), name);
    }
  }

  @Test
  void listOfReplacementsHasALimit() throws IOException {
    JsonNode limits = table().get("limits");
    for (String key : List.of("k", "ä".repeat(1000))) {
      Struct.Builder fields = Struct.newBuilder();
      for (int index = 0; index < 3000; index++) {
        fields.putFields(key + index, Value.newBuilder().setNumberValue(Double.NaN).build());
      }
      Replacement old = Replacement.newBuilder().setPath("a").setReason("OLD").build();
      List<Replacement> list =
          SendableReview.of(
                  Review.newBuilder().setPerformanceMetrics(fields).addReplacements(old).build())
              .getReplacementsList();
      int bytes = 0;
      for (Replacement entry : list) {
        for (int size : List.of(entry.getPathBytes().size(), entry.getReasonBytes().size())) {
          assertTrue(size >= 1 && size <= limits.get("text_bytes").intValue());
          bytes += size;
        }
      }
      int limit = limits.get("bytes").intValue();
      assertTrue(list.size() <= limits.get("entries").intValue());
      assertTrue(bytes <= limit && (bytes > limit * 9L / 10 || key.equals("k")));
      assertEquals(old, list.get(0));
      String more =
          "%d more values were replaced and are not listed".formatted(3000 - (list.size() - 2));
      assertEquals(more, list.get(list.size() - 1).getReason());
    }
  }

  @Test
  void reviewWithoutSuchValuesIsUnchanged() {
    Review review =
        Review.newBuilder()
            .setDocumentName("a😀")
            .addAccepted(FeedbackSection.newBuilder().setName("S"))
            .build();
    assertEquals(review, SendableReview.of(review));
  }
}
