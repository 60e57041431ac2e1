package taraexport

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// Reasons of Review.replacements.
const (
	replacedNotUnicode   = "NOT_UNICODE"
	replacedNotFinite    = "NOT_FINITE"
	replacedNotExact     = "NOT_EXACT"
	replacedDuplicateKey = "DUPLICATE_KEY"
	replacedTooDeep      = "TOO_DEEP"
)

const (
	// A double represents every integer up to this one.
	largestExact = 1<<53 - 1
	// From here on numbers are written with an exponent and are not expected to be exact.
	smallestInexact = 1e21
	// Nesting depth of free-form fields. Deeper lists and objects become JSON text, and null beyond the
	// second limit.
	maxFreeFormDepth = 30
	maxTextDepth     = 100

	maxReplacements = 1_000
	// Limit of all paths and reasons of a request, and of one path.
	maxReplacementBytes  = 128 * 1024
	maxReplacedPathBytes = 1024
	// Space for the last entry, which counts the values that are not listed.
	reservedReplacementBytes = 128
)

// SendableReview returns a copy of the review without values that a request cannot have: texts that are not
// UTF-8, numbers that are not finite or may have been rounded when they became doubles, and lists and objects
// that are nested too deep. It appends each of them to the copy's replacements. Client.Export calls it.
func SendableReview(review *exportv1.Review) *exportv1.Review {
	copied := proto.CloneOf(review)
	if copied == nil {
		return nil
	}
	values := newSendable(copied)
	values.review(copied)
	copied.Replacements = append(copied.Replacements, values.replacements()...)
	return copied
}

// replaceFileNames replaces file names that are not Unicode, and lists them in the request's review. The request's
// documents can be the caller's: a changed one is copied.
func replaceFileNames(request *exportv1.StartExportRequest) {
	values := newSendable(request.GetReview())
	for index, document := range request.GetDocuments() {
		if !utf8.ValidString(document.GetFileName()) {
			copied := proto.CloneOf(document)
			values.text(&copied.FileName, fmt.Sprintf("documents[%d].file_name", index))
			request.Documents[index] = copied
		}
	}
	if request.GetReview() != nil {
		request.Review.Replacements = append(request.Review.Replacements, values.replacements()...)
	}
}

func newSendable(review *exportv1.Review) *sendable {
	values := &sendable{existing: review.GetReplacements()}
	for _, entry := range values.existing {
		values.bytes += len(entry.GetPath()) + len(entry.GetReason())
	}
	return values
}

// sendable replaces values and collects the replacements.
type sendable struct {
	existing []*exportv1.Replacement
	added    []*exportv1.Replacement
	bytes    int
	unlisted int
}

func (values *sendable) replacements() []*exportv1.Replacement {
	if values.unlisted == 0 || len(values.existing)+len(values.added) >= maxReplacements {
		return values.added
	}
	reason := fmt.Sprintf("%d more values were replaced and are not listed", values.unlisted)
	return append(values.added, &exportv1.Replacement{Path: "review", Reason: reason})
}

func (values *sendable) add(path, reason string) {
	path = cutPath(path)
	bytes := len(path) + len(reason)
	isFull := len(values.existing)+len(values.added)+1 >= maxReplacements ||
		values.bytes+bytes > maxReplacementBytes-reservedReplacementBytes
	if isFull || values.unlisted > 0 {
		values.unlisted++
		return
	}
	values.bytes += bytes
	values.added = append(values.added, &exportv1.Replacement{Path: path, Reason: reason})
}

func (values *sendable) review(review *exportv1.Review) {
	values.text(&review.DocumentName, "document_name")
	values.text(&review.SessionId, "session_id")
	values.text(&review.Reviewer, "reviewer")
	values.text(review.GuidelinesName, "guidelines_name")
	values.text(&review.GuidelinesPreference, "guidelines_preference")
	values.texts(review.SectionNames, "section_names")
	values.sections(review.Suggestions, "suggestions")
	values.sections(review.Accepted, "accepted")
	values.sections(review.Rejected, "rejected")
	values.sections(review.UserCreated, "user_created")
	values.objects(review.ActivityLog, "activity_log")
	values.objects(review.ChatHistory, "chat_history")
	values.objects(review.AuditLogs, "audit_logs")
	values.objects(review.ActivityTimeline, "activity_timeline")
	values.object(review.PerformanceMetrics, "performance_metrics", 1)
}

// text replaces the text in place. A nil text is absent.
func (values *sendable) text(text *string, path string) {
	if text == nil || utf8.ValidString(*text) {
		return
	}
	*text = validUTF8(*text)
	values.add(path, replacedNotUnicode)
}

func (values *sendable) texts(texts []string, path string) {
	for index := range texts {
		values.text(&texts[index], fmt.Sprintf("%s[%d]", path, index))
	}
}

func (values *sendable) objects(objects []*structpb.Struct, path string) {
	for index, object := range objects {
		values.object(object, fmt.Sprintf("%s[%d]", path, index), 1)
	}
}

func (values *sendable) sections(sections []*exportv1.FeedbackSection, list string) {
	names := map[string]int{}
	for _, section := range sections {
		if utf8.ValidString(section.GetName()) {
			names[section.GetName()] = 1
		}
	}
	for _, section := range sections {
		if !utf8.ValidString(section.GetName()) {
			section.Name = values.name(section.GetName(), list, names)
		}
		path := keyPath(list, section.GetName())
		for index, item := range section.GetItems() {
			values.item(item, fmt.Sprintf("%s[%d]", path, index))
		}
	}
}

// name returns a valid name that is unique in names, and adds it there.
func (values *sendable) name(name, path string, names map[string]int) string {
	valid := validUTF8(name)
	unique, reason := valid, replacedNotUnicode
	for names[unique] > 0 {
		names[valid]++
		unique, reason = fmt.Sprintf("%s (%d)", valid, names[valid]), replacedDuplicateKey
	}
	names[unique] = 1
	values.add(keyPath(path, unique), reason)
	return unique
}

func (values *sendable) item(item *exportv1.FeedbackItem, path string) {
	if item == nil {
		return
	}
	for _, field := range []struct {
		key  string
		text *string
	}{
		{"id", item.Id}, {"type", item.Type}, {"category", item.Category}, {"description", item.Description},
		{"suggestion", item.Suggestion}, {"example", item.Example}, {"risk_level", item.RiskLevel},
		{"timestamp", item.Timestamp}, {"ai_reference", item.AiReference}, {"ai_id", item.AiId},
	} {
		values.text(field.text, path+"."+field.key)
	}
	values.texts(item.Questions, path+".questions")
	if item.Confidence != nil && !isFinite(item.GetConfidence()) {
		if item.AdditionalFields == nil {
			item.AdditionalFields = &structpb.Struct{}
		}
		if item.AdditionalFields.Fields == nil {
			item.AdditionalFields.Fields = map[string]*structpb.Value{}
		}
		item.AdditionalFields.Fields["confidence"] = structpb.NewNumberValue(item.GetConfidence())
		item.Confidence = nil
	}
	values.object(item.AdditionalFields, path, 1)
}

// object replaces values of the object in place. level is its nesting depth.
func (values *sendable) object(object *structpb.Struct, path string, level int) {
	names := map[string]int{}
	for key := range object.GetFields() {
		if utf8.ValidString(key) {
			names[key] = 1
		}
	}
	// In a fixed order, because the same review must create the same request.
	for _, key := range slices.Sorted(maps.Keys(object.GetFields())) {
		value := object.Fields[key]
		if !utf8.ValidString(key) {
			delete(object.Fields, key)
			key = values.name(key, path, names)
		}
		object.Fields[key] = values.value(value, keyPath(path, key), level+1)
	}
}

func (values *sendable) value(value *structpb.Value, path string, level int) *structpb.Value {
	switch kind := value.GetKind().(type) {
	case *structpb.Value_StringValue:
		values.text(&kind.StringValue, path)
	case *structpb.Value_NumberValue:
		return values.number(value, kind.NumberValue, path, level)
	case *structpb.Value_ListValue, *structpb.Value_StructValue:
		return values.nested(value, path, level)
	case nil:
		// A value without a kind is invalid; other languages write null.
		return structpb.NewNullValue()
	}
	return value
}

func (values *sendable) number(value *structpb.Value, number float64, path string, level int) *structpb.Value {
	if !isFinite(number) {
		values.add(path, replacedNotFinite)
		return structpb.NewStringValue(notFiniteText(number))
	}
	// A text of JSON has all digits.
	if level <= maxFreeFormDepth+1 && isInexactInteger(number) {
		values.add(path, replacedNotExact)
		return structpb.NewStringValue(strconv.FormatFloat(number, 'f', 0, 64))
	}
	return value
}

func (values *sendable) nested(value *structpb.Value, path string, level int) *structpb.Value {
	if level > maxTextDepth {
		values.add(path, replacedTooDeep)
		return structpb.NewNullValue()
	}
	if list := value.GetListValue(); list != nil {
		for index, element := range list.GetValues() {
			list.Values[index] = values.value(element, fmt.Sprintf("%s[%d]", path, index), level+1)
		}
	} else {
		values.object(value.GetStructValue(), path, level)
	}
	if level != maxFreeFormDepth+1 {
		return value
	}
	values.add(path, replacedTooDeep)
	var text strings.Builder
	writeJSON(value, &text)
	return structpb.NewStringValue(text.String())
}

// writeJSON writes the value without spaces, with the keys in ascending order.
func writeJSON(value *structpb.Value, text *strings.Builder) {
	switch kind := value.GetKind().(type) {
	case *structpb.Value_BoolValue:
		text.WriteString(strconv.FormatBool(kind.BoolValue))
	case *structpb.Value_NumberValue:
		format := byte('g')
		if number := kind.NumberValue; number == math.Trunc(number) && math.Abs(number) < smallestInexact {
			text.WriteString(strconv.FormatFloat(number, 'f', 0, 64))
			return
		}
		text.WriteString(strconv.FormatFloat(kind.NumberValue, format, -1, 64))
	case *structpb.Value_StringValue:
		text.WriteString(jsonString(kind.StringValue))
	case *structpb.Value_ListValue:
		text.WriteByte('[')
		for index, element := range kind.ListValue.GetValues() {
			if index > 0 {
				text.WriteByte(',')
			}
			writeJSON(element, text)
		}
		text.WriteByte(']')
	case *structpb.Value_StructValue:
		fields := kind.StructValue.GetFields()
		text.WriteByte('{')
		for index, key := range slices.Sorted(maps.Keys(fields)) {
			if index > 0 {
				text.WriteByte(',')
			}
			text.WriteString(jsonString(key) + ":")
			writeJSON(fields[key], text)
		}
		text.WriteByte('}')
	default:
		text.WriteString("null")
	}
}

// jsonString writes a text as in the other clients: encoding/json escapes more characters.
func jsonString(text string) string {
	var quoted strings.Builder
	quoted.WriteByte('"')
	for _, character := range text {
		switch {
		case character == '"' || character == '\\':
			quoted.WriteByte('\\')
			quoted.WriteRune(character)
		case character == '\n':
			quoted.WriteString(`\n`)
		case character == '\r':
			quoted.WriteString(`\r`)
		case character == '\t':
			quoted.WriteString(`\t`)
		case character == '\b':
			quoted.WriteString(`\b`)
		case character == '\f':
			quoted.WriteString(`\f`)
		case character < ' ':
			fmt.Fprintf(&quoted, `\u%04x`, character)
		default:
			quoted.WriteRune(character)
		}
	}
	quoted.WriteByte('"')
	return quoted.String()
}

// validUTF8 replaces each invalid byte, and each half of a surrogate pair in the form that some encoders
// write, by U+FFFD.
func validUTF8(text string) string {
	var valid strings.Builder
	for text != "" {
		character, size := utf8.DecodeRuneInString(text)
		if character == utf8.RuneError && size == 1 && isEncodedSurrogate(text) {
			size = 3
		}
		valid.WriteRune(character)
		text = text[size:]
	}
	return valid.String()
}

func isEncodedSurrogate(text string) bool {
	return len(text) >= 3 && text[0] == 0xed && text[1] >= 0xa0 && text[1] <= 0xbf && text[2]&0xc0 == 0x80
}

func isFinite(number float64) bool {
	return !math.IsNaN(number) && !math.IsInf(number, 0)
}

func notFiniteText(number float64) string {
	switch {
	case math.IsNaN(number):
		return "NaN"
	case number > 0:
		return "Infinity"
	default:
		return "-Infinity"
	}
}

func isInexactInteger(number float64) bool {
	size := math.Abs(number)
	return size > largestExact && size < smallestInexact && number == math.Trunc(number)
}

var identifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func keyPath(path, key string) string {
	if identifier.MatchString(key) {
		return path + "." + key
	}
	return path + "[" + jsonString(key) + "]"
}

func cutPath(path string) string {
	if len(path) <= maxReplacedPathBytes {
		return path
	}
	end := maxReplacedPathBytes - len("…")
	for !utf8.RuneStart(path[end]) {
		end--
	}
	return path[:end] + "…"
}
