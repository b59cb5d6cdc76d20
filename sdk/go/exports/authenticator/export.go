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

var plugin sdk.Authenticator

func Init() abi.Result[abi.Unit, types.PluginError] {
	return witgate.Guarded(func() (done abi.Unit, err error) {
		if sdk.Maker == nil {
			return done, errors.New("the plugin does not call authenticator.Register")
		}
		plugin, err = sdk.Maker(witgate.Settings)
		return done, err
	})
}

func Authenticate(request wit.Request) abi.Result[wit.Decision, types.PluginError] {
	return witgate.Guarded(func() (wit.Decision, error) {
		asked := &sdk.Request{
			APIKey: request.ApiKey, Method: request.Method, Path: request.Path,
			Query: request.Query.SomeOr(""), ClientIP: request.ClientIp.SomeOr(""),
		}
		for _, header := range request.Headers {
			asked.Headers = append(asked.Headers, [2]string{header.F0, header.F1})
		}
		decision, err := plugin.Authenticate(asked)
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
				Status: decided.Status, Message: witgate.UTF8(decided.Message), Kind: some(decided.Kind), Param: some(decided.Param),
			}), nil
		}
		return wit.Decision{}, errors.New("Authenticate returned neither a decision nor an error")
	})
}

func identity(who sdk.Identity) wit.Identity {
	return wit.Identity{
		ApiKey: some(who.APIKey), KeyAlias: some(who.KeyAlias), UserId: some(who.UserID), UserEmail: some(who.UserEmail),
		Role: some(who.Role), TeamId: some(who.TeamID), TeamAlias: some(who.TeamAlias), OrgId: some(who.OrgID),
		EndUserId: some(who.EndUserID), Models: who.Models, Metadata: object(who.Metadata), Extra: object(who.Extra),
	}
}

func some(text string) abi.Option[string] {
	if text == "" {
		return abi.None[string]()
	}
	return abi.Some(witgate.UTF8(text))
}

func object(value json.RawMessage) string {
	if value == nil {
		return "{}"
	}
	return string(value)
}
