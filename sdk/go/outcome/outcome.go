// Package outcome says what became of a batch: for log sinks and alerters.
package outcome

import "witgate/http"

// Outcome is what became of a batch; the zero value: everything arrived.
type Outcome struct {
	// RetryAll asks for another try of the whole batch, for this reason; RejectAll: it was refused for good.
	RetryAll, RejectAll string
	// Retry has the positions of events to deliver again, Rejected the reasons of those that were refused.
	Retry    []uint32
	Rejected map[uint32]string
	// AfterMs is the other side's advice; 0: when the host thinks.
	AfterMs uint64
}

// FromResponse is the usual reading: 2xx is delivered, 408, 429 and 5xx are tried again, anything else is refused.
func FromResponse(response *http.Response) Outcome {
	switch {
	case response.OK():
		return Outcome{}
	case response.WorthARetry():
		return Outcome{RetryAll: response.Summary(), AfterMs: response.RetryAfterMs()}
	default:
		return Outcome{RejectAll: response.Summary()}
	}
}

// By sends a request that carries the whole batch and reads its answer so.
func By(request *http.Request) (Outcome, error) {
	response, err := request.Send()
	if err != nil {
		return Outcome{}, err
	}
	return FromResponse(response), nil
}
