-- Calls of a user are asked for without days, too: a million rows were read for them. In SQLite the index is there from the beginning.
CREATE INDEX IF NOT EXISTS "LiteLLM_SpendLogs_user_startTime_idx" ON "LiteLLM_SpendLogs" ("user", "startTime") WHERE "user" <> '';
-- In exchange, since each call is written into every index: the one of ("startTime", "request_id") begins with it.
DROP INDEX IF EXISTS "LiteLLM_SpendLogs_startTime_idx";
