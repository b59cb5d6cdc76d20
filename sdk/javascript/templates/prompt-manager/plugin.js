import { promptManager } from "witgate";

export default promptManager(({ prompts }) => ({
  getChatCompletionPrompt({ promptId, promptVariables, messages }) {
    const template = prompts[promptId];
    if (typeof template !== "string") return null; // not one of ours: the next prompt manager is asked
    const content = template.replace(/\{\{\s*(\w+)\s*\}\}/g, (place, name) => String(promptVariables[name] ?? place));
    return { messages: [{ role: "system", content }, ...messages] };
  },
}));
