package export_witgate_request_hook_request_hook

import (
	"encoding/json"
	"errors"
	"fmt"
	"runtime"

	"witgate"
	abi "witgate/abi/types"
	"witgate/body"
	sdk "witgate/requesthook"
	host "witgate/wit/witgate_host_body"
	wit "witgate/wit/witgate_request_hook_request_hook"
	types "witgate/wit/witgate_types_types"
)

type decision = abi.Result[wit.Decision, types.PluginError]

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("requesthook") }

func PreCall(call wit.Call, request *host.View) abi.Result[wit.PreDecision, types.PluginError] {
	// The host lends the view for this call.
	defer request.Drop()
	return witgate.Guarded(func() (none wit.PreDecision, err error) {
		hook, err := as[sdk.PreCall]("pre_call", "PreCall")
		if err != nil {
			return none, err
		}
		decided, err := hook.PreCall(callOf(call), body.Of(request))
		switch refused := refusal(err); {
		case refused != nil:
			return wit.MakePreDecisionRefuse(*refused), nil
		case err != nil:
			return none, err
		case decided == nil:
			return wit.MakePreDecisionProceed(nil), nil
		case decided.Text != nil:
			return wit.MakePreDecisionRespond(witgate.UTF8(*decided.Text)), nil
		}
		return wit.MakePreDecisionProceed(body.EditsOf(decided.Edits)), nil
	})
}

func PreRouting(call wit.Call, request *host.View) decision {
	defer request.Drop()
	return decide("pre_routing", "PreRouting", func(hook sdk.PreRouting) (*sdk.Decision, error) {
		return hook.PreRouting(callOf(call), body.Of(request))
	})
}

func PreCallDeployment(call wit.Call, request *host.View, deployment wit.Deployment) decision {
	defer request.Drop()
	return decide("pre_call_deployment", "PreCallDeployment", func(hook sdk.PreCallDeployment) (*sdk.Decision, error) {
		return hook.PreCallDeployment(callOf(call), body.Of(request), deploymentOf(deployment))
	})
}

func PostCallSuccess(call wit.Call, request *host.View, response *host.View) decision {
	defer request.Drop()
	defer response.Drop()
	return decide("post_call_success", "PostCallSuccess", func(hook sdk.PostCallSuccess) (*sdk.Decision, error) {
		return hook.PostCallSuccess(callOf(call), body.Of(request), body.Of(response))
	})
}

func FilterDeployments(call wit.Call, request *host.View, deployments []wit.Deployment) abi.Result[wit.Selection, types.PluginError] {
	defer request.Drop()
	return witgate.Guarded(func() (none wit.Selection, err error) {
		hook, err := as[sdk.FilterDeployments]("filter_deployments", "FilterDeployments")
		if err != nil {
			return none, err
		}
		offered := make([]sdk.Deployment, 0, len(deployments))
		for _, deployment := range deployments {
			offered = append(offered, *deploymentOf(deployment))
		}
		ids, err := hook.FilterDeployments(callOf(call), body.Of(request), offered)
		if refused := refusal(err); refused != nil {
			return wit.MakeSelectionRefuse(*refused), nil
		}
		return wit.MakeSelectionKeep(ids), err
	})
}

func PostCallFailure(call wit.Call, request *host.View, failure wit.Failure) abi.Result[abi.Option[wit.HttpError], types.PluginError] {
	defer request.Drop()
	return witgate.Guarded(func() (none abi.Option[wit.HttpError], err error) {
		hook, err := as[sdk.PostCallFailure]("post_call_failure", "PostCallFailure")
		if err != nil {
			return none, err
		}
		refused, err := hook.PostCallFailure(callOf(call), body.Of(request), &sdk.Failure{
			Class: failure.Class, Status: failure.Status, Message: failure.Message,
		})
		if refused == nil || err != nil {
			return none, err
		}
		return abi.Some(*refusal(refused)), nil
	})
}

func ResponseHeaders(call wit.Call, request *host.View, reply wit.Reply, response abi.Option[*host.View]) abi.Result[[]abi.Tuple2[string, string], types.PluginError] {
	defer request.Drop()
	var answer body.Body
	if view := response.SomeOr(nil); view != nil {
		defer view.Drop()
		answer = body.Of(view)
	}
	return witgate.Guarded(func() ([]abi.Tuple2[string, string], error) {
		hook, err := as[sdk.ResponseHeaders]("response_headers", "ResponseHeaders")
		if err != nil {
			return nil, err
		}
		about := &sdk.Reply{Status: reply.Status}
		if reply.Deployment.Tag() == abi.OptionSome {
			about.Deployment = deploymentOf(reply.Deployment.Some())
		}
		headers, err := hook.ResponseHeaders(callOf(call), body.Of(request), about, answer)
		return witgate.Tuples(headers), err
	})
}

func OpenStream(call wit.Call, request *host.View) abi.Result[abi.Option[*StreamHook], types.PluginError] {
	defer request.Drop()
	return witgate.Guarded(func() (none abi.Option[*StreamHook], err error) {
		hook, err := as[sdk.Streaming]("streaming", "OpenStream")
		if err != nil {
			return none, err
		}
		stream, err := hook.OpenStream(callOf(call), body.Of(request))
		if stream == nil || err != nil {
			return none, err
		}
		return abi.Some(&StreamHook{stream: stream}), nil
	})
}

// StreamHook is the host's resource; the bindings use its first two fields.
type StreamHook struct {
	pinner runtime.Pinner
	handle int32
	stream sdk.Stream
}

// OnDrop is called when the stream is over.
func (h *StreamHook) OnDrop() { h.stream = nil }

func (h *StreamHook) Push(chunk string) abi.Result[wit.Piece, types.PluginError] {
	return witgate.Guarded(func() (wit.Piece, error) { return piece(h.stream.Push(json.RawMessage(chunk))) })
}

func (h *StreamHook) Finish() abi.Result[wit.Piece, types.PluginError] {
	return witgate.Guarded(func() (wit.Piece, error) { return piece(h.stream.Finish()) })
}

func as[T any](hook, function string) (T, error) {
	plugin, can := sdk.Registered.Plugin.(T)
	if !can {
		return plugin, fmt.Errorf("plugin.toml names the hook `%s`, and the plugin has no %s", hook, function)
	}
	return plugin, nil
}

func decide[T any](hook, function string, call func(T) (*sdk.Decision, error)) decision {
	return witgate.Guarded(func() (none wit.Decision, err error) {
		plugin, err := as[T](hook, function)
		if err != nil {
			return none, err
		}
		decided, err := call(plugin)
		switch refused := refusal(err); {
		case refused != nil:
			return wit.MakeDecisionRefuse(*refused), nil
		case err != nil:
			return none, err
		case decided == nil:
			return wit.MakeDecisionProceed(nil), nil
		case decided.Text != nil:
			return none, fmt.Errorf("`%s` answers with a text, which only `pre_call` may", hook)
		}
		return wit.MakeDecisionProceed(body.EditsOf(decided.Edits)), nil
	})
}

func piece(piece *sdk.Piece, err error) (none wit.Piece, _ error) {
	if refused := refusal(err); refused != nil {
		return wit.MakePieceFail(*refused), nil
	}
	if err != nil {
		return none, err
	}
	if piece == nil {
		return wit.MakePieceKeep(), nil
	}
	chunks := make([]string, 0, len(piece.Chunks))
	for _, chunk := range piece.Chunks {
		chunks = append(chunks, string(chunk))
	}
	if piece.End {
		return wit.MakePieceEnd(chunks), nil
	}
	return wit.MakePieceReplace(chunks), nil
}

func refusal(err error) *wit.HttpError {
	var refused *sdk.Refusal
	if !errors.As(err, &refused) {
		return nil
	}
	return &wit.HttpError{
		Status: refused.Status, Message: witgate.UTF8(refused.Message), Kind: witgate.Some(refused.Kind), Param: witgate.Some(refused.Param),
		Detail: witgate.Some(string(refused.Detail)),
	}
}

func callOf(call wit.Call) *sdk.Call {
	return &sdk.Call{
		ID: call.Id, CallType: call.CallType, Model: call.Model, Streaming: call.Streaming, Principal: witgate.PrincipalOf(call.Principal),
	}
}

func deploymentOf(deployment wit.Deployment) *sdk.Deployment {
	return &sdk.Deployment{
		ID: deployment.Id, ModelName: deployment.ModelName, Params: json.RawMessage(deployment.Params), Info: json.RawMessage(deployment.Info),
	}
}
