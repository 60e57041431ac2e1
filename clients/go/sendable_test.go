package taraexport_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	taraexport "github.com/tara-export/tara-export/clients/go"
	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// The cases that all clients share.
type valuesTable struct {
	Values, Items []valueCase
	Limits        struct {
		Entries, Bytes int
		TextBytes      int `json:"text_bytes"`
	}
}

type valueCase struct {
	Name              string
	Exact             bool
	Value, Item, Sent any
	Replacements      [][2]string
}

func readValues(t *testing.T) (table valuesTable) {
	text, err := os.ReadFile("../values.json")
	if err == nil {
		err = json.Unmarshal(text, &table)
	}
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// decodeText builds a text. Halves of surrogate pairs are encoded as some programs do.
func decodeText(value any) string {
	if text, ok := value.(string); ok {
		return text
	}
	var text []byte
	units := strings.Fields(value.(map[string]any)["$utf16"].(string))
	for index := 0; index < len(units); index++ {
		unit := parseUnit(units[index])
		if unit >= 0xd800 && unit < 0xdc00 && index+1 < len(units) {
			if low := parseUnit(units[index+1]); low >= 0xdc00 && low < 0xe000 {
				text = append(text, string(rune(0x10000+(unit-0xd800)<<10+low-0xdc00))...)
				index++
				continue
			}
		}
		if unit >= 0xd800 && unit < 0xe000 {
			text = append(text, 0xe0|byte(unit>>12), 0x80|byte(unit>>6&0x3f), 0x80|byte(unit&0x3f))
		} else {
			text = append(text, string(rune(unit))...)
		}
	}
	return string(text)
}

func parseUnit(text string) int {
	unit, err := strconv.ParseUint(text, 16, 16)
	if err != nil {
		panic(err)
	}
	return int(unit)
}

// decodeValue builds the value that a case describes.
func decodeValue(value any) *structpb.Value {
	switch value := value.(type) {
	case []any:
		list := &structpb.ListValue{}
		for _, element := range value {
			list.Values = append(list.Values, decodeValue(element))
		}
		return structpb.NewListValue(list)
	case map[string]any:
		return decodeObject(value)
	case string:
		return structpb.NewStringValue(value)
	case float64:
		return structpb.NewNumberValue(value)
	case bool:
		return structpb.NewBoolValue(value)
	}
	return structpb.NewNullValue()
}

func decodeObject(value map[string]any) *structpb.Value {
	if _, ok := value["$utf16"]; ok {
		return structpb.NewStringValue(decodeText(value))
	}
	for _, key := range []string{"$number", "$integer"} {
		if digits, ok := value[key]; ok {
			return structpb.NewNumberValue(decodeNumber(digits))
		}
	}
	if nested, ok := value["$nested"].([]any); ok {
		element := decodeValue(nested[1])
		for range int(nested[0].(float64)) {
			element = structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{element}})
		}
		return element
	}
	fields := map[string]*structpb.Value{}
	if entries, ok := value["$entries"].([]any); ok {
		for _, entry := range entries {
			pair := entry.([]any)
			fields[decodeText(pair[0])] = decodeValue(pair[1])
		}
	} else {
		for key, element := range value {
			fields[key] = decodeValue(element)
		}
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}

func decodeNumber(digits any) float64 {
	number, err := strconv.ParseFloat(digits.(string), 64)
	if err != nil {
		panic(err)
	}
	return number
}

func (row valueCase) expected(places ...string) []string {
	var expected []string
	for _, place := range places {
		for _, entry := range row.Replacements {
			expected = append(expected, place+entry[0]+" "+entry[1])
		}
	}
	slices.Sort(expected)
	return expected
}

func listed(review *exportv1.Review) []string {
	var listed []string
	for _, entry := range review.GetReplacements() {
		listed = append(listed, entry.GetPath()+" "+entry.GetReason())
	}
	slices.Sort(listed)
	return listed
}

func TestFreeFormValuesOfTheTable(t *testing.T) {
	for _, row := range readValues(t).Values {
		if row.Exact {
			continue // A Struct has doubles only.
		}
		t.Run(row.Name, func(t *testing.T) {
			fields := func() *structpb.Struct {
				return &structpb.Struct{Fields: map[string]*structpb.Value{"x": decodeValue(row.Value)}}
			}
			review := taraexport.SendableReview(&exportv1.Review{
				Suggestions: []*exportv1.FeedbackSection{{
					Name: "Section 1", Items: []*exportv1.FeedbackItem{{AdditionalFields: fields()}},
				}},
				ChatHistory:        []*structpb.Struct{fields()},
				PerformanceMetrics: fields(),
			})
			if _, err := proto.Marshal(review); err != nil {
				t.Fatal(err)
			}
			sent := &structpb.Struct{Fields: map[string]*structpb.Value{"x": decodeValue(row.Sent)}}
			for _, actual := range []*structpb.Struct{
				review.Suggestions[0].Items[0].AdditionalFields, review.ChatHistory[0], review.PerformanceMetrics,
			} {
				if !proto.Equal(actual, sent) {
					t.Errorf("sent %s instead of %s", protojson.Format(actual), protojson.Format(sent))
				}
			}
			expected := row.expected(`suggestions["Section 1"][0].x`, "chat_history[0].x", "performance_metrics.x")
			if !slices.Equal(listed(review), expected) {
				t.Errorf("listed %q instead of %q", listed(review), expected)
			}
		})
	}
}

func TestItemsOfTheTable(t *testing.T) {
	for _, row := range readValues(t).Items {
		t.Run(row.Name, func(t *testing.T) {
			item := &exportv1.FeedbackItem{}
			for key, value := range row.Item.(map[string]any) {
				switch key {
				case "confidence":
					item.Confidence = proto.Float64(decodeNumber(value.(map[string]any)["$number"]))
				case "id":
					item.Id = proto.String(decodeText(value))
				case "description":
					item.Description = proto.String(decodeText(value))
				case "questions":
					for _, text := range value.([]any) {
						item.Questions = append(item.Questions, decodeText(text))
					}
				default:
					item.AdditionalFields = &structpb.Struct{Fields: map[string]*structpb.Value{key: decodeValue(value)}}
				}
			}
			section := &exportv1.FeedbackSection{Name: "S", Items: []*exportv1.FeedbackItem{item}}
			review := taraexport.SendableReview(&exportv1.Review{Accepted: []*exportv1.FeedbackSection{section}})
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(review.Accepted[0].Items[0])
			if err != nil {
				t.Fatal(err)
			}
			var sent map[string]any
			if err := json.Unmarshal(text, &sent); err != nil {
				t.Fatal(err)
			}
			if free, ok := sent["additional_fields"].(map[string]any); ok {
				delete(sent, "additional_fields")
				maps.Copy(sent, free)
			}
			if !reflect.DeepEqual(sent, row.Sent) {
				t.Errorf("sent %v instead of %v", sent, row.Sent)
			}
			if expected := row.expected("accepted.S[0]"); !slices.Equal(listed(review), expected) {
				t.Errorf("listed %q instead of %q", listed(review), expected)
			}
		})
	}
}

func TestListOfReplacementsHasALimit(t *testing.T) {
	limits := readValues(t).Limits
	for _, key := range []string{"k", strings.Repeat("ä", 1000)} {
		fields := map[string]*structpb.Value{}
		for index := range 3000 {
			fields[fmt.Sprint(key, index)] = structpb.NewNumberValue(math.NaN())
		}
		list := taraexport.SendableReview(&exportv1.Review{
			PerformanceMetrics: &structpb.Struct{Fields: fields},
			Replacements:       []*exportv1.Replacement{{Path: "a", Reason: "OLD"}},
		}).GetReplacements()
		bytes := 0
		for _, entry := range list {
			for _, text := range []string{entry.GetPath(), entry.GetReason()} {
				if len(text) < 1 || len(text) > limits.TextBytes {
					t.Errorf("%q has %d bytes", text, len(text))
				}
				bytes += len(text)
			}
		}
		if len(list) > limits.Entries || bytes > limits.Bytes || key != "k" && bytes < limits.Bytes*9/10 {
			t.Errorf("%d entries have %d bytes", len(list), bytes)
		}
		wantEqual(t, "the first reason", list[0].GetReason(), "OLD")
		more := fmt.Sprintf("%d more values were replaced and are not listed", 3000-(len(list)-2))
		wantEqual(t, "the last reason", list[len(list)-1].GetReason(), more)
	}
}

func TestTheReviewOfTheCallerIsNotChanged(t *testing.T) {
	review := &exportv1.Review{
		DocumentName: "a\xff",
		Suggestions:  []*exportv1.FeedbackSection{{Name: "\xff"}, {Name: "\ufffd"}},
	}
	sent := taraexport.SendableReview(review)
	wantEqual(t, "the caller's name", review.DocumentName, "a\xff")
	wantEqual(t, "the sent name", sent.DocumentName, "a\ufffd")
	wantEqual(t, "the section's name", sent.Suggestions[0].Name, "\ufffd (2)")
	wantEqual(t, "the other section's name", sent.Suggestions[1].Name, "\ufffd")
}
