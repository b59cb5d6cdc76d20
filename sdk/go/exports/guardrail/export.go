package export_witgate_guardrail_guardrail

import (
	"encoding/json"
	"errors"
	"runtime"
	"sort"

	"witgate"
	abi "witgate/abi/types"
	"witgate/body"
	sdk "witgate/guardrail"
	wit "witgate/wit/witgate_guardrail_guardrail"
	host "witgate/wit/witgate_host_body"
	types "witgate/wit/witgate_types_types"
)

func Init() abi.Result[abi.Unit, types.PluginError] { return sdk.Registered.Init("guardrail") }

func Check(call wit.Call, view *host.View) abi.Result[wit.Verdict, types.PluginError] {
	// The host lends the view for this call.
	defer view.Drop()
	return witgate.Guarded(func() (wit.Verdict, error) {
		verdict, err := sdk.Registered.Plugin.Check(callOf(call), body.Of(view))
		if err != nil {
			return wit.Verdict{}, err
		}
		return verdictOf(verdict), nil
	})
}

func OpenStream(call wit.Call) abi.Result[abi.Option[*StreamGuard], types.PluginError] {
	return witgate.Guarded(func() (none abi.Option[*StreamGuard], err error) {
		streamer, can := sdk.Registered.Plugin.(sdk.Streamer)
		if !can {
			return none, nil
		}
		stream, err := streamer.OpenStream(callOf(call))
		if stream == nil || err != nil {
			return none, err
		}
		return abi.Some(&StreamGuard{stream: stream}), nil
	})
}

// StreamGuard is the host's resource; the bindings use its first two fields.
type StreamGuard struct {
	pinner runtime.Pinner
	handle int32
	stream sdk.Stream
}

// OnDrop is called when the stream is over.
func (g *StreamGuard) OnDrop() { g.stream = nil }

func (g *StreamGuard) Push(channel uint32, text string) abi.Result[wit.StreamVerdict, types.PluginError] {
	return witgate.Guarded(func() (wit.StreamVerdict, error) { return piece(g.stream.Push(channel, text)) })
}

func (g *StreamGuard) Finish(channel uint32) abi.Result[wit.StreamVerdict, types.PluginError] {
	return witgate.Guarded(func() (wit.StreamVerdict, error) { return piece(g.stream.Finish(channel)) })
}

func (g *StreamGuard) Findings() []wit.Finding { return findings(g.stream.Findings()) }

func piece(release string, verdict *sdk.Verdict, err error) (wit.StreamVerdict, error) {
	switch {
	case err != nil:
		return wit.StreamVerdict{}, err
	case verdict != nil && !verdict.IsBlock:
		return wit.StreamVerdict{}, errors.New("a stream is judged by text to release or a verdict that blocks")
	case verdict != nil:
		return wit.MakeStreamVerdictBlock(block(verdict)), nil
	default:
		return wit.MakeStreamVerdictRelease(witgate.UTF8(release)), nil
	}
}

func callOf(call wit.Call) *sdk.Call {
	phases := []sdk.Phase{sdk.PreCall, sdk.DuringCall, sdk.PostCall, sdk.LoggingOnly}
	return &sdk.Call{
		ID: call.Id, Phase: phases[call.Phase], CallType: call.CallType, Model: call.Model,
		Principal: witgate.PrincipalOf(call.Principal),
		Params:    json.RawMessage(call.Params),
	}
}

func verdictOf(verdict *sdk.Verdict) wit.Verdict {
	switch {
	case verdict == nil:
		return wit.MakeVerdictAllow()
	case verdict.IsBlock:
		return wit.MakeVerdictBlock(block(verdict))
	case verdict.IsNoAnswer:
		return wit.MakeVerdictCouldNotJudge(witgate.UTF8(verdict.Undecided))
	}
	return wit.MakeVerdictEdit(wit.Edits{Edits: body.EditsOf(verdict.Edits), Findings: findings(verdict.Found)})
}

func block(verdict *sdk.Verdict) wit.Block {
	detail := abi.None[string]()
	if verdict.Detail != nil {
		detail = abi.Some(string(verdict.Detail))
	}
	return wit.Block{Message: witgate.UTF8(verdict.Message), Status: verdict.Status, Detail: detail, Findings: findings(verdict.Found)}
}

func findings(found sdk.Findings) []wit.Finding {
	all := make([]wit.Finding, 0, len(found))
	for kind, count := range found {
		all = append(all, wit.Finding{Kind: kind, Count: count})
	}
	sort.Slice(all, func(a, b int) bool { return all[a].Kind < all[b].Kind })
	return all
}
