package plugin

import "witgate/requesthook"

type settings struct {
	Old string `json:"old"`
	New string `json:"new"`
}

func init() {
	requesthook.Register(func(s settings) (requesthook.RequestHook, error) { return renamer{s.Old, s.New}, nil })
}

type renamer struct{ old, new string }

func (r renamer) PreCall(call *requesthook.Call, request requesthook.Body) (*requesthook.Decision, error) {
	if call.Model != r.old {
		return nil, nil
	}
	if r.new == "" {
		refusal := requesthook.Refuse(404, "%s is no more.", call.Model)
		refusal.Param = "model"
		return nil, refusal
	}
	return requesthook.Change(requesthook.Set("/model", r.new)), nil
}
