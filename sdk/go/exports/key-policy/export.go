package export_witgate_key_policy_key_policy

import (
	"encoding/json"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/keypolicy"
	wit "witgate/wit/witgate_key_policy_key_policy"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("keypolicy") }

func Judge(request wit.Request) abi.Result[wit.Verdict, types.PluginError] {
	return witgate.Guarded(func() (wit.Verdict, error) {
		actions := []sdk.Action{sdk.Generate, sdk.Update}
		verdict, err := sdk.Registered.Plugin.Judge(&sdk.Request{
			Action: actions[request.Action], Caller: witgate.PrincipalOf(request.Caller), Body: json.RawMessage(request.Body),
		})
		switch {
		case err != nil:
			return wit.Verdict{}, err
		case verdict == nil:
			return wit.MakeVerdictAllow(), nil
		case verdict.Body != nil:
			return wit.MakeVerdictEdit(string(verdict.Body)), nil
		}
		return wit.MakeVerdictDeny(witgate.UTF8(verdict.Message)), nil
	})
}
