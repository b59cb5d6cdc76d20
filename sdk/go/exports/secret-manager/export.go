package export_witgate_secret_manager_secret_manager

import (
	"encoding/json"
	"time"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/secretmanager"
	wit "witgate/wit/witgate_secret_manager_secret_manager"
	types "witgate/wit/witgate_types_types"
)

type done = abi.Result[abi.Unit, types.PluginError]

func Init() done { return sdk.Registered.Init("secretmanager") }

func Read(name string, options string) abi.Result[wit.Reading, types.PluginError] {
	return witgate.Guarded(func() (none wit.Reading, err error) {
		reading, err := sdk.Registered.Plugin.Read(name, json.RawMessage(options))
		if reading == nil || err != nil {
			return none, err
		}
		keep := abi.None[uint32]()
		if reading.Keep > 0 {
			keep = abi.Some(uint32(reading.Keep / time.Second))
		}
		value := abi.Some(witgate.UTF8(reading.Value))
		if reading.Unknown {
			value = abi.None[string]()
		}
		return wit.Reading{Value: value, KeepS: keep}, nil
	})
}

func Write(secret wit.Secret, options string) done {
	return does(func() error {
		if writer, can := sdk.Registered.Plugin.(sdk.Writer); can {
			return writer.Write(secretOf(secret), json.RawMessage(options))
		}
		return sdk.OnlyReads(secret.Name)
	})
}

func Delete(name string, recoveryDays uint32, options string) done {
	return does(func() error {
		if writer, can := sdk.Registered.Plugin.(sdk.Writer); can {
			return writer.Delete(name, recoveryDays, json.RawMessage(options))
		}
		return sdk.OnlyReads(name)
	})
}

func Rotate(current string, secret wit.Secret, options string) done {
	return does(func() error {
		return sdk.Rotate(sdk.Registered.Plugin, current, secretOf(secret), json.RawMessage(options))
	})
}

func Health() done {
	return does(func() error {
		if checker, can := sdk.Registered.Plugin.(sdk.HealthChecker); can {
			return checker.Health()
		}
		return nil
	})
}

func does(work func() error) done {
	return witgate.Guarded(func() (none abi.Unit, err error) { return none, work() })
}

func secretOf(secret wit.Secret) *sdk.Secret {
	return &sdk.Secret{
		Name: secret.Name, Value: secret.Value, Description: secret.Description.SomeOr(""), Tags: witgate.Headers(secret.Tags),
	}
}
