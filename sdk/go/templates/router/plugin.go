package plugin

import "witgate/router"

type settings struct {
	MaxInFlight uint32 `json:"max_in_flight"`
}

func init() {
	router.Register(func(s settings) (router.Router, error) { return cheapest{s.MaxInFlight}, nil })
}

type cheapest struct{ maxInFlight uint32 }

func (c cheapest) Pick(candidates []router.Candidate, request *router.Request) (*router.Candidate, error) {
	var picked *router.Candidate
	for i := range candidates {
		one := &candidates[i]
		if one.InFlight < c.maxInFlight && (picked == nil || one.Cost < picked.Cost) {
			picked = one
		}
	}
	return picked, nil
}
