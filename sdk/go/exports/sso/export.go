package export_witgate_sso_sso

import (
	"encoding/json"
	"errors"
	"fmt"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/sso"
	wit "witgate/wit/witgate_sso_sso"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("sso") }

func Authorize(login wit.Login) abi.Result[wit.Authorization, types.PluginError] {
	return witgate.Guarded(func() (none wit.Authorization, err error) {
		provider, err := as[sdk.Provider]("provider", "Authorize")
		if err != nil {
			return none, err
		}
		to, err := provider.Authorize(&sdk.Login{
			RedirectURI: login.RedirectUri, State: login.State, Nonce: login.Nonce, CodeChallenge: login.CodeChallenge,
		})
		if err = answered(to, err); err != nil {
			return none, err
		}
		return wit.Authorization{Url: to.URL, State: witgate.Some(to.State)}, nil
	})
}

func Exchange(callback wit.Callback) abi.Result[wit.Who, types.PluginError] {
	return witgate.Guarded(func() (none wit.Who, err error) {
		provider, err := as[sdk.Provider]("provider", "Exchange")
		if err != nil {
			return none, err
		}
		return who(provider.Exchange(&sdk.Callback{
			Code: callback.Code, RedirectURI: callback.RedirectUri, Nonce: callback.Nonce, CodeVerifier: callback.CodeVerifier,
		}))
	})
}

func MapUser(user wit.Openid, known abi.Option[string]) abi.Result[wit.Mapped, types.PluginError] {
	return witgate.Guarded(func() (none wit.Mapped, err error) {
		mapper, err := as[sdk.Mapper]("mapping", "MapUser")
		if err != nil {
			return none, err
		}
		var row json.RawMessage
		if known.Tag() == abi.OptionSome {
			row = json.RawMessage(known.Some())
		}
		values, err := mapper.MapUser(&sdk.OpenID{
			ID: user.Id, Email: user.Email.SomeOr(""), FirstName: user.FirstName.SomeOr(""), LastName: user.LastName.SomeOr(""),
			DisplayName: user.DisplayName.SomeOr(""), Picture: user.Picture.SomeOr(""), Provider: user.Provider.SomeOr(""),
			TeamIDs: user.TeamIds, UserRole: user.UserRole.SomeOr(""), ExtraFields: json.RawMessage(user.ExtraFields),
		}, row)
		if denied := denial(err); denied != nil {
			return wit.MakeMappedDeny(*denied), nil
		}
		if err = answered(values, err); err != nil {
			return none, err
		}
		return wit.MakeMappedValues(wit.UserValues{
			UserId: witgate.UTF8(values.UserID), UserEmail: witgate.Some(values.UserEmail), UserRole: witgate.Some(values.UserRole),
			Models: values.Models, MaxBudget: witgate.Some(values.MaxBudget), BudgetDuration: witgate.Some(values.BudgetDuration),
		}), nil
	})
}

func SignIn(request wit.Request) abi.Result[wit.Who, types.PluginError] {
	return witgate.Guarded(func() (none wit.Who, err error) {
		plugin, err := as[sdk.SignIn]("sign-in", "SignIn")
		if err != nil {
			return none, err
		}
		return who(plugin.SignIn(&sdk.Request{
			Method: request.Method, Path: request.Path, Query: request.Query.SomeOr(""), ClientIP: request.ClientIp.SomeOr(""),
			Headers: witgate.Headers(request.Headers),
		}))
	})
}

func as[T any](role, function string) (T, error) {
	plugin, can := sdk.Registered.Plugin.(T)
	if !can {
		return plugin, fmt.Errorf("plugin.toml names the role `%s`, and the plugin has no %s", role, function)
	}
	return plugin, nil
}

func answered[T any](value *T, err error) error {
	if err == nil && value == nil {
		return errors.New("the plugin returned neither an answer nor an error")
	}
	return err
}

func who(user *sdk.OpenID, err error) (none wit.Who, _ error) {
	if denied := denial(err); denied != nil {
		return wit.MakeWhoDeny(*denied), nil
	}
	if err := answered(user, err); err != nil {
		return none, err
	}
	extra := "{}"
	if user.ExtraFields != nil {
		extra = string(user.ExtraFields)
	}
	return wit.MakeWhoUser(wit.Openid{
		Id: witgate.UTF8(user.ID), Email: witgate.Some(user.Email), FirstName: witgate.Some(user.FirstName), LastName: witgate.Some(user.LastName),
		DisplayName: witgate.Some(user.DisplayName), Picture: witgate.Some(user.Picture), Provider: witgate.Some(user.Provider),
		TeamIds: user.TeamIDs, UserRole: witgate.Some(user.UserRole), ExtraFields: extra,
	}), nil
}

func denial(err error) *wit.Denial {
	var denied *sdk.Denial
	if !errors.As(err, &denied) {
		return nil
	}
	return &wit.Denial{Status: denied.Status, Message: witgate.UTF8(denied.Message)}
}
