package export_witgate_authenticator_authenticator

import (
	"encoding/json"
	"errors"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/authenticator"
	wit "witgate/wit/witgate_authenticator_authenticator"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("authenticator") }

func Authenticate(request wit.Request) abi.Result[wit.Decision, types.PluginError] {
	return witgate.Guarded(func() (wit.Decision, error) {
		asked := &sdk.Request{
			APIKey: request.ApiKey, Method: request.Method, Path: request.Path,
			Query: request.Query.SomeOr(""), ClientIP: request.ClientIp.SomeOr(""), Headers: witgate.Headers(request.Headers),
		}
		decision, err := sdk.Registered.Plugin.Authenticate(asked)
		if err != nil {
			return wit.Decision{}, err
		}
		switch decided := decision.(type) {
		case sdk.Identity:
			return wit.MakeDecisionIdentity(identity(decided)), nil
		case sdk.Key:
			return wit.MakeDecisionKey(string(decided)), nil
		case sdk.Decline:
			return wit.MakeDecisionDecline(), nil
		case sdk.Denial:
			return wit.MakeDecisionDeny(wit.Denial{
				Status: decided.Status, Message: witgate.UTF8(decided.Message), Kind: witgate.Some(decided.Kind), Param: witgate.Some(decided.Param),
			}), nil
		}
		return wit.Decision{}, errors.New("Authenticate returned neither a decision nor an error")
	})
}

func identity(who sdk.Identity) wit.Identity {
	return wit.Identity{
		ApiKey: witgate.Some(who.APIKey), KeyAlias: witgate.Some(who.KeyAlias), UserId: witgate.Some(who.UserID), UserEmail: witgate.Some(who.UserEmail),
		Role: witgate.Some(who.Role), TeamId: witgate.Some(who.TeamID), TeamAlias: witgate.Some(who.TeamAlias), OrgId: witgate.Some(who.OrgID),
		EndUserId: witgate.Some(who.EndUserID), Models: who.Models, Metadata: object(who.Metadata), Extra: object(who.Extra),
	}
}

func object(value json.RawMessage) string {
	if value == nil {
		return "{}"
	}
	return string(value)
}
