package export_witgate_prompt_manager_prompt_manager

import (
	"encoding/json"
	"errors"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/promptmanager"
	wit "witgate/wit/witgate_prompt_manager_prompt_manager"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("promptmanager") }

func GetChatCompletionPrompt(call wit.Call) abi.Result[wit.Answer, types.PluginError] {
	return witgate.Guarded(func() (wit.Answer, error) {
		asked := &sdk.Call{
			ID: call.Id, Model: call.Model, Params: json.RawMessage(call.Params), PromptID: call.PromptId,
			Label: call.PromptLabel.SomeOr(""), Version: call.PromptVersion.SomeOr(""),
		}
		if err := errors.Join(
			json.Unmarshal([]byte(call.Messages), &asked.Messages),
			json.Unmarshal([]byte(call.PromptVariables), &asked.Variables),
		); err != nil {
			return wit.Answer{}, err
		}
		prompt, err := sdk.Registered.Plugin.GetPrompt(asked)
		if err != nil {
			return wit.Answer{}, err
		}
		if prompt == nil {
			return wit.MakeAnswerUnknown(), nil
		}
		messages, err := json.Marshal(prompt.Messages)
		if err != nil {
			return wit.Answer{}, err
		}
		params := []byte("{}")
		if prompt.Params != nil {
			if params, err = json.Marshal(prompt.Params); err != nil {
				return wit.Answer{}, err
			}
		}
		return wit.MakeAnswerFound(wit.Prompt{Model: witgate.Some(prompt.Model), Messages: string(messages), Params: string(params)}), nil
	})
}
