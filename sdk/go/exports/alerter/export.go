package export_witgate_alerter_alerter

import (
	"sort"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/alerter"
	wit "witgate/wit/witgate_alerter_alerter"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("alerter") }

func Send(batch []wit.Alert) abi.Result[wit.Outcome, types.PluginError] {
	return witgate.Guarded(func() (wit.Outcome, error) {
		alerts := make([]sdk.Alert, 0, len(batch))
		for _, alert := range batch {
			alerts = append(alerts, alertOf(alert))
		}
		outcome, err := sdk.Registered.Plugin.Send(alerts)
		if err != nil {
			return wit.Outcome{}, err
		}
		return outcomeOf(outcome), nil
	})
}

func alertOf(alert wit.Alert) sdk.Alert {
	levels := []sdk.Level{sdk.Low, sdk.Medium, sdk.High}
	return sdk.Alert{
		ID: alert.Id, Kind: alert.Kind, Level: levels[alert.Level], AtMs: alert.AtMs, LocalTime: alert.LocalTime,
		Title: alert.Title, Text: alert.Text, Fields: witgate.Headers(alert.Fields), Metadata: witgate.Headers(alert.Metadata),
		Link: alert.Link.SomeOr(""), ProxyURL: alert.ProxyUrl.SomeOr(""), Count: alert.Count,
	}
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
