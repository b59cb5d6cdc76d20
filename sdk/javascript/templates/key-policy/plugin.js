import { allowKey, denyKey, keyPolicy } from "witgate";

export default keyPolicy(({ max_models }) => ({
  judge({ action, body }) {
    if (action === "generate" && !body.team_id) return denyKey("name the team that the key is for (team_id)");
    if ((body.models ?? []).length > max_models) return denyKey(`a key may name ${max_models} models at most`);
    return allowKey();
  },
}));
