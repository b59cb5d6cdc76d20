package export_witgate_provider_provider

import (
	"encoding/json"
	"errors"
	"runtime"

	"witgate"
	abi "witgate/abi/types"
	sdk "witgate/provider"
	wit "witgate/wit/witgate_provider_provider"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("provider") }

func SupportedParams(callType string, model string) abi.Result[[]string, types.PluginError] {
	return witgate.Guarded(func() ([]string, error) { return sdk.Registered.Plugin.SupportedParams(callType, model) })
}

func BuildRequest(call wit.Call) abi.Result[wit.Built, types.PluginError] {
	return witgate.Guarded(func() (none wit.Built, err error) {
		asked := &sdk.Call{
			ID: call.Id, CallType: call.CallType, Model: call.Model, Body: json.RawMessage(call.Body), Params: json.RawMessage(call.Params),
			APIBase: call.ApiBase, Credentials: map[string]string{}, Headers: witgate.Headers(call.Headers),
		}
		for _, credential := range call.Credentials {
			asked.Credentials[credential.Name] = credential.Prefix.SomeOr("")
		}
		request, err := sdk.Registered.Plugin.BuildRequest(asked)
		switch failed := failure(err); {
		case failed != nil:
			return wit.MakeBuiltRefused(*failed), nil
		case err != nil:
			return none, err
		case request == nil:
			return none, errors.New("BuildRequest returned neither a request nor an error")
		}
		return wit.MakeBuiltRequest(requestOf(request)), nil
	})
}

func ParseResponse(context string, response wit.Response) abi.Result[wit.Parsed, types.PluginError] {
	return witgate.Guarded(func() (none wit.Parsed, err error) {
		answer, err := sdk.Registered.Plugin.ParseResponse(context, responseOf(response))
		switch failed := failure(err); {
		case failed != nil:
			return wit.MakeParsedFailed(*failed), nil
		case err != nil:
			return none, err
		case answer == nil:
			return none, errors.New("ParseResponse returned neither an answer nor an error")
		case answer.Again != nil:
			return wit.MakeParsedAgain(wit.FollowUp{Request: requestOf(answer.Again), DelayMs: answer.DelayMs}), nil
		}
		return wit.MakeParsedAnswer(string(answer.Body)), nil
	})
}

func MapError(context string, response wit.Response) abi.Result[abi.Option[wit.Failure], types.PluginError] {
	return witgate.Guarded(func() (none abi.Option[wit.Failure], err error) {
		mapper, can := sdk.Registered.Plugin.(sdk.ErrorMapper)
		if !can {
			return none, nil
		}
		failed, err := mapper.MapError(context, responseOf(response))
		if failed == nil || err != nil {
			return none, err
		}
		return abi.Some(*failure(failed)), nil
	})
}

func OpenStream(context string, head wit.Response) abi.Result[*StreamParser, types.PluginError] {
	return witgate.Guarded(func() (*StreamParser, error) {
		streamer, can := sdk.Registered.Plugin.(sdk.Streamer)
		if !can {
			return nil, errors.New("a request has a Framing, and the plugin has no OpenStream")
		}
		stream, err := streamer.OpenStream(context, responseOf(head))
		if err == nil && stream == nil {
			err = errors.New("OpenStream returned neither a stream nor an error")
		}
		return &StreamParser{stream: stream}, err
	})
}

// StreamParser is the host's resource; the bindings use its first two fields.
type StreamParser struct {
	pinner runtime.Pinner
	handle int32
	stream sdk.Stream
}

// OnDrop is called when the stream is over.
func (p *StreamParser) OnDrop() { p.stream = nil }

func (p *StreamParser) Push(frames []wit.Frame) abi.Result[wit.Progress, types.PluginError] {
	return witgate.Guarded(func() (none wit.Progress, err error) {
		var progress sdk.Progress
		for _, frame := range frames {
			if progress.Ended || progress.Failed != nil {
				break
			}
			if err := p.stream.Push(sdk.Frame{Event: frame.Event.SomeOr(""), Data: frame.Data}, &progress); err != nil {
				return progressOf(&progress, err)
			}
		}
		return progressOf(&progress, nil)
	})
}

func (p *StreamParser) Finish() abi.Result[wit.Progress, types.PluginError] {
	return witgate.Guarded(func() (wit.Progress, error) {
		var progress sdk.Progress
		return progressOf(&progress, p.stream.Finish(&progress))
	})
}

// A Failure that is returned is one that the stream tells of.
func progressOf(progress *sdk.Progress, err error) (out wit.Progress, _ error) {
	failed := failure(err)
	if failed == nil && err != nil {
		return out, err
	}
	if failed == nil && progress.Failed != nil {
		failed = failure(progress.Failed)
	}
	for _, chunk := range progress.Chunks {
		out.Chunks = append(out.Chunks, string(chunk))
	}
	switch {
	case failed != nil:
		out.End = abi.Some(wit.MakeEndFailed(*failed))
	case progress.Ended:
		out.End = abi.Some(wit.MakeEndDone())
	}
	return out, nil
}

func requestOf(request *sdk.Request) wit.Request {
	return wit.Request{
		Method: request.Method, Url: request.URL, Headers: witgate.Tuples(request.Headers), CredentialHeaders: witgate.Tuples(request.Secret),
		Body: request.Body, Framing: witgate.Some(request.Framing), Context: witgate.UTF8(request.Context),
	}
}

func responseOf(response wit.Response) *sdk.Response {
	return &sdk.Response{Status: int(response.Status), Headers: witgate.Headers(response.Headers), Body: response.Body}
}

func failure(err error) *wit.Failure {
	var failed *sdk.Failure
	if !errors.As(err, &failed) || failed == nil {
		return nil
	}
	return &wit.Failure{
		Class: failed.Class, Message: witgate.UTF8(failed.Message), Code: witgate.Some(failed.Code), Param: witgate.Some(failed.Param),
	}
}
