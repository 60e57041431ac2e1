package taraexport_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	exportv1 "github.com/tara-export/tara-export/clients/go/gen/tara/export/v1"
)

// notificationStep has the steps of scenarios that are about notifications.
type notificationStep struct {
	Targets    *struct{}
	TestTarget *struct{ Target string } `json:"test_target"`
	Events     *struct {
		State, Target string
		PageSize      int32 `json:"page_size"`
	}
	RetryEvents *struct {
		AllDead  bool     `json:"all_dead"`
		EventIDs []string `json:"event_ids"`
	} `json:"retry_events"`
}

type notificationExpectation struct {
	Targets         []string
	Delivered       *bool
	Events          []string
	EventCount      *int64   `json:"event_count"`
	MissingEventIDs []string `json:"missing_event_ids"`
}

// writeNotifyFile writes a NOTIFY_FILE, in which RECEIVER stands for a receiver of this test, and its secret.
func writeNotifyFile(t *testing.T, content []byte) string {
	t.Helper()
	receiver := httptest.NewServer(http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
		response.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(receiver.Close)
	folder := t.TempDir()
	secret := "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 32))
	text := strings.ReplaceAll(string(content), "RECEIVER", receiver.Listener.Addr().String())
	path := filepath.Join(folder, "notify.json")
	for name, text := range map[string]string{filepath.Join(folder, "secret"): secret, path: text} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// notifications runs a step about notifications.
func (player *player) notifications(step step) {
	player.Helper()
	player.compare(step, func(expect expectation) ([]string, error) {
		switch {
		case step.Targets != nil:
			return player.targets(expect)
		case step.TestTarget != nil:
			response, err := player.client.TestTarget(player.Context(), step.TestTarget.Target)
			if err != nil {
				return nil, err
			}
			return difference("delivered", response.GetDelivered(), *expect.Delivered), nil
		case step.Events != nil:
			return player.events(step, expect)
		case step.RetryEvents != nil:
			return player.retryEvents(step, expect)
		}
		player.Fatalf("%s has no action", player.where)
		return nil, nil
	})
}

func (player *player) targets(expect expectation) ([]string, error) {
	response, err := player.client.ListTargets(player.Context())
	if err != nil {
		return nil, err
	}
	var names []string
	for _, target := range response.GetTargets() {
		names = append(names, target.GetName())
	}
	return listDifference("targets", names, expect.Targets), nil
}

func (player *player) events(step step, expect expectation) ([]string, error) {
	request := &exportv1.ListEventsRequest{
		State:  exportv1.Event_State(exportv1.Event_State_value[step.Events.State]),
		Target: step.Events.Target, PageSize: step.Events.PageSize,
	}
	var names, want []string
	for event, err := range player.client.ListEvents(player.Context(), request) {
		if err != nil {
			return nil, err
		}
		names = append(names, event.GetExport())
	}
	for _, key := range expect.Events {
		want = append(want, player.exports[key].GetName())
	}
	return listDifference("events", names, want), nil
}

func (player *player) retryEvents(step step, expect expectation) ([]string, error) {
	request := &exportv1.RetryEventsRequest{AllDead: step.RetryEvents.AllDead, EventIds: step.RetryEvents.EventIDs}
	response, err := player.client.RetryEvents(player.Context(), request)
	if err != nil {
		return nil, err
	}
	return append(difference("event_count", response.GetEventCount(), *expect.EventCount),
		listDifference("missing_event_ids", response.GetMissingEventIds(), expect.MissingEventIDs)...), nil
}

func difference[T comparable](name string, got, want T) []string {
	if got == want {
		return nil
	}
	return []string{fmt.Sprintf("%s is %v instead of %v", name, got, want)}
}

func listDifference(name string, got, want []string) []string {
	if slices.Equal(got, want) {
		return nil
	}
	return []string{fmt.Sprintf("%s is %v instead of %v", name, got, want)}
}
