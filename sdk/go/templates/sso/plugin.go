package plugin

import (
	"encoding/json"
	"slices"
	"strings"

	"witgate/sso"
)

type settings struct {
	Domain string   `json:"domain"`
	Admins []string `json:"admins"`
}

func init() {
	sso.Register(func(s settings) (sso.Plugin, error) { return mapper{s}, nil })
}

type mapper struct{ settings settings }

func (m mapper) MapUser(user *sso.OpenID, known json.RawMessage) (*sso.UserValues, error) {
	if !strings.HasSuffix(user.Email, "@"+m.settings.Domain) {
		return nil, sso.TurnAway("Only people of %s may enter.", m.settings.Domain)
	}
	row := struct {
		UserID string `json:"user_id"`
	}{user.Email}
	if known != nil {
		if err := json.Unmarshal(known, &row); err != nil {
			return nil, err
		}
	}
	role := "internal_user"
	if slices.Contains(m.settings.Admins, user.Email) {
		role = "proxy_admin"
	}
	return &sso.UserValues{
		UserID: row.UserID, UserEmail: user.Email, UserRole: role, MaxBudget: "10", BudgetDuration: "30d",
	}, nil
}
