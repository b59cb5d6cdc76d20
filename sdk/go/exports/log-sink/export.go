package export_witgate_log_sink_log_sink

import (
	"encoding/json"
	"errors"
	"sort"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/logsink"
	wit "witgate/wit/witgate_log_sink_log_sink"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("logsink") }

func Deliver(batch []wit.Event) abi.Result[wit.Outcome, types.PluginError] {
	return witgate.Guarded(func() (wit.Outcome, error) {
		events := make([]sdk.Event, 0, len(batch))
		for _, event := range batch {
			events = append(events, sdk.Event{
				ID: event.Id, Success: event.Kind == wit.EventKindSuccess,
				Payload: json.RawMessage(event.Payload), Context: json.RawMessage(event.Context),
			})
		}
		outcome, err := sdk.Registered.Plugin.Deliver(events)
		if err != nil {
			return wit.Outcome{}, err
		}
		return outcomeOf(outcome), nil
	})
}

func HealthCheck() abi.Result[abi.Unit, types.PluginError] {
	return witgate.Guarded(func() (done abi.Unit, err error) {
		if checker, can := sdk.Registered.Plugin.(sdk.HealthChecker); can {
			return done, checker.HealthCheck()
		}
		outcome, err := sdk.Registered.Plugin.Deliver(nil)
		switch {
		case err != nil:
			return done, err
		case outcome.RetryAll != "":
			return done, witgate.Unavailable("%s", outcome.RetryAll)
		case outcome.RejectAll != "":
			return done, errors.New(outcome.RejectAll)
		}
		return done, nil
	})
}

func outcomeOf(outcome sdk.Outcome) wit.Outcome {
	after := abi.None[uint64]()
	if outcome.AfterMs > 0 {
		after = abi.Some(outcome.AfterMs)
	}
	switch {
	case outcome.RetryAll != "":
		return wit.MakeOutcomeRetry(wit.Again{AfterMs: after, Reason: witgate.UTF8(outcome.RetryAll)})
	case outcome.RejectAll != "":
		return wit.MakeOutcomeRejected(witgate.UTF8(outcome.RejectAll))
	case len(outcome.Retry) == 0 && len(outcome.Rejected) == 0:
		return wit.MakeOutcomeDelivered()
	}
	rejected := make([]wit.Rejection, 0, len(outcome.Rejected))
	for index, reason := range outcome.Rejected {
		rejected = append(rejected, wit.Rejection{Index: index, Reason: witgate.UTF8(reason)})
	}
	sort.Slice(rejected, func(a, b int) bool { return rejected[a].Index < rejected[b].Index })
	return wit.MakeOutcomePartial(wit.Partial{Retry: outcome.Retry, Rejected: rejected, RetryAfterMs: after})
}
