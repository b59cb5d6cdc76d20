import { block, guardrail } from "witgate";

export default guardrail(({ word }) => ({
  check(call, body) {
    if (body.texts().some(({ text }) => text.toLowerCase().includes(word.toLowerCase()))) {
      return block("This text is not allowed.", { findings: { word: 1 } });
    }
  },
}));
