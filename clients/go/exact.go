package taraexport

import (
	"fmt"
	"math"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/structpb"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// A double has every whole number up to here, and not every one beyond.
const largestExact = 1<<53 - 1

// From here on numbers are written with an exponent, and nobody takes them for exact.
const smallestInexact = 1e21

// refuseRounded refuses whole numbers beyond ±2^53 in free fields: they were rounded when they became
// doubles, or may have been, and a bundle has what the caller said or nothing.
func refuseRounded(review *exportv1.Review) error {
	for _, list := range []struct {
		name    string
		entries []*structpb.Struct
	}{
		{"activity_log", review.GetActivityLog()},
		{"chat_history", review.GetChatHistory()},
		{"audit_logs", review.GetAuditLogs()},
		{"activity_timeline", review.GetActivityTimeline()},
	} {
		for index, entry := range list.entries {
			if err := checkStruct(entry, fmt.Sprintf("review.%s[%d]", list.name, index)); err != nil {
				return err
			}
		}
	}
	for _, list := range []struct {
		name     string
		sections []*exportv1.FeedbackSection
	}{
		{"suggestions", review.GetSuggestions()},
		{"accepted", review.GetAccepted()},
		{"rejected", review.GetRejected()},
		{"user_created", review.GetUserCreated()},
	} {
		for section := range list.sections {
			for index, item := range list.sections[section].GetItems() {
				path := fmt.Sprintf("review.%s[%d].items[%d].additional_fields", list.name, section, index)
				if err := checkStruct(item.GetAdditionalFields(), path); err != nil {
					return err
				}
			}
		}
	}
	return checkStruct(review.GetPerformanceMetrics(), "review.performance_metrics")
}

func checkStruct(object *structpb.Struct, path string) error {
	for key, value := range object.GetFields() {
		if err := checkValue(value, path+"."+key); err != nil {
			return err
		}
	}
	return nil
}

func checkValue(value *structpb.Value, path string) error {
	switch kind := value.GetKind().(type) {
	case *structpb.Value_StructValue:
		return checkStruct(kind.StructValue, path)
	case *structpb.Value_ListValue:
		for index, member := range kind.ListValue.GetValues() {
			if err := checkValue(member, fmt.Sprintf("%s[%d]", path, index)); err != nil {
				return err
			}
		}
	case *structpb.Value_NumberValue:
		number := kind.NumberValue
		if size := math.Abs(number); size > largestExact && size < smallestInexact && number == math.Trunc(number) {
			text := strconv.FormatFloat(number, 'f', -1, 64)
			description := text + " can't be sent without rounding it: make it a string"
			return &Error{
				Code:            codes.InvalidArgument,
				Reason:          ReasonNotExact,
				Message:         "the request has a number that is not exact",
				FieldViolations: []FieldViolation{{path, description}},
			}
		}
	}
	return nil
}
