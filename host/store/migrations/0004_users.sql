-- Users: LiteLLM's table and column names, SQLite's types. Arrays and JSON are TEXT holding JSON, times are UTC ISO text with
-- milliseconds and `Z`, money is REAL as LiteLLM has it.
CREATE TABLE "LiteLLM_UserTable" (
    "user_id" TEXT NOT NULL PRIMARY KEY,
    "user_alias" TEXT,
    "team_id" TEXT,
    "sso_user_id" TEXT UNIQUE,
    "organization_id" TEXT,
    "object_permission_id" TEXT,
    "password" TEXT,
    "teams" TEXT NOT NULL DEFAULT '[]',
    "user_role" TEXT,
    "max_budget" REAL,
    "spend" REAL NOT NULL DEFAULT 0.0,
    "user_email" TEXT,
    "models" TEXT NOT NULL DEFAULT '[]',
    "metadata" TEXT NOT NULL DEFAULT '{}',
    "max_parallel_requests" INTEGER,
    "tpm_limit" INTEGER,
    "rpm_limit" INTEGER,
    "budget_duration" TEXT,
    "budget_reset_at" TEXT,
    "allowed_cache_controls" TEXT NOT NULL DEFAULT '[]',
    "policies" TEXT NOT NULL DEFAULT '[]',
    "model_spend" TEXT NOT NULL DEFAULT '{}',
    "model_max_budget" TEXT NOT NULL DEFAULT '{}',
    "created_at" TEXT NOT NULL,
    "updated_at" TEXT NOT NULL
);

CREATE INDEX "LiteLLM_UserTable_user_email_idx" ON "LiteLLM_UserTable" (lower("user_email")) WHERE "user_email" IS NOT NULL;
