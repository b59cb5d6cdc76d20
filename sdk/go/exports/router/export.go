package export_witgate_router_router

import (
	"encoding/json"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/router"
	wit "witgate/wit/witgate_router_router"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("router") }

func Pick(candidates []wit.Candidate, request wit.Request) abi.Result[abi.Option[string], types.PluginError] {
	return witgate.Guarded(func() (abi.Option[string], error) {
		given := make([]sdk.Candidate, 0, len(candidates))
		for _, one := range candidates {
			given = append(given, candidateOf(one))
		}
		picked, err := sdk.Registered.Plugin.Pick(given, &sdk.Request{
			ID: request.Id, CallType: request.CallType, Model: request.Model, Streaming: request.Streaming, Tags: request.Tags,
			PromptTokens: known(request.PromptTokens), FailedTries: request.FailedTries,
			Principal: witgate.PrincipalOf(request.Principal), Metadata: json.RawMessage(request.Metadata),
		})
		if err != nil || picked == nil {
			return abi.None[string](), err
		}
		return abi.Some(witgate.UTF8(picked.ID)), nil
	})
}

func candidateOf(one wit.Candidate) sdk.Candidate {
	return sdk.Candidate{
		ID: one.Id, Model: one.Model, Tags: one.Tags, Region: one.Region.SomeOr(""), Weight: known(one.Weight), Order: known(one.Order),
		InFlight: one.InFlight, InFlightMax: known(one.InFlightMax), Requests: one.Requests, RequestsMax: known(one.RequestsMax),
		Tokens: one.Tokens, TokensMax: known(one.TokensMax), PromptTokensMax: known(one.PromptTokensMax),
		Latency: known(one.Latency), FirstToken: known(one.FirstToken), Cost: one.Cost,
	}
}

func known[T any](value abi.Option[T]) *T {
	if value.Tag() == abi.OptionNone {
		return nil
	}
	some := value.Some()
	return &some
}
