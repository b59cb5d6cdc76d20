import { Failed, Unavailable, http, secretManager, secrets } from "witgate";

export default secretManager(({ url }) => ({
  read(name) {
    const response = http.get(`${url.replace(/\/+$/, "")}/${encodeURIComponent(name)}`, { auth: secrets.bearer("token") });
    if (response.status === 404) return null; // there is no such secret: the gateway looks into its environment
    if (response.isWorthARetry) throw new Unavailable(`the keeper answered with status ${response.status}`);
    if (!response.ok) throw new Failed(`the keeper answered with status ${response.status}; may the token read ${name}?`);
    return response.text;
  },
}));
