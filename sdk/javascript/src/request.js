import request from "witgate:host/request";

export const headers = () => request.headers();
export const caller = () => JSON.parse(request.caller());
