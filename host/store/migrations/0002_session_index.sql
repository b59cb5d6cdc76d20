-- A call without a session of its own has its call id as session: those are found by that index, and
-- an entry here for each of them would double the work of a row.
DROP INDEX "LiteLLM_SpendLogs_session_id_idx";
CREATE INDEX "LiteLLM_SpendLogs_session_id_idx" ON "LiteLLM_SpendLogs" ("session_id")
    WHERE "session_id" <> "litellm_call_id";
