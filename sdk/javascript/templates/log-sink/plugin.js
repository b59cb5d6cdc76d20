import { http, logSink, secrets } from "witgate";

export default logSink(({ url }) => ({
  deliver: (batch) => http.post(url, { json: batch.map((event) => event.payload), auth: secrets.bearer("token") }),
}));
