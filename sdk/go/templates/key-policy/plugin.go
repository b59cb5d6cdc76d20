package plugin

import (
	"encoding/json"

	"witgate/keypolicy"
)

type settings struct {
	MaxModels int `json:"max_models"`
}

func init() {
	keypolicy.Register(func(s settings) (keypolicy.KeyPolicy, error) { return policy{s.MaxModels}, nil })
}

type policy struct{ maxModels int }

func (p policy) Judge(request *keypolicy.Request) (*keypolicy.Verdict, error) {
	var body struct {
		Team   string   `json:"team_id"`
		Models []string `json:"models"`
	}
	if err := json.Unmarshal(request.Body, &body); err != nil {
		return keypolicy.Deny("%v", err), nil
	}
	if request.Action == keypolicy.Generate && body.Team == "" {
		return keypolicy.Deny("name the team that the key is for (team_id)"), nil
	}
	if len(body.Models) > p.maxModels {
		return keypolicy.Deny("a key may name %d models at most", p.maxModels), nil
	}
	return nil, nil
}
