import { refuse, requestHook, setValue } from "witgate";

export default requestHook((settings) => ({
  preCall(call, request) {
    if (call.model !== settings.old) return null;
    if (!settings.new) return refuse(`${call.model} is no more.`, { status: 404, param: "model" });
    return [setValue("/model", settings.new)];
  },
}));
