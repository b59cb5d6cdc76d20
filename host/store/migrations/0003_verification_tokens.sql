-- Virtual keys: LiteLLM's table and column names as of mid-2025, SQLite's types (see 0001).
CREATE TABLE "LiteLLM_VerificationToken" (
    -- SHA-256 of the key's text, lower-case hex. The text itself is stored nowhere.
    "token" TEXT NOT NULL PRIMARY KEY,
    "key_name" TEXT,
    "key_alias" TEXT,
    "soft_budget_cooldown" INTEGER NOT NULL DEFAULT 0,
    "spend" REAL NOT NULL DEFAULT 0.0,
    "expires" TEXT,
    "models" TEXT NOT NULL DEFAULT '[]',
    "aliases" TEXT NOT NULL DEFAULT '{}',
    "config" TEXT NOT NULL DEFAULT '{}',
    "user_id" TEXT,
    "team_id" TEXT,
    "permissions" TEXT NOT NULL DEFAULT '{}',
    "max_parallel_requests" INTEGER,
    "metadata" TEXT NOT NULL DEFAULT '{}',
    "blocked" INTEGER,
    "tpm_limit" INTEGER,
    "rpm_limit" INTEGER,
    "max_budget" REAL,
    "budget_duration" TEXT,
    "budget_reset_at" TEXT,
    "allowed_cache_controls" TEXT NOT NULL DEFAULT '[]',
    "allowed_routes" TEXT NOT NULL DEFAULT '[]',
    "model_spend" TEXT NOT NULL DEFAULT '{}',
    "model_max_budget" TEXT NOT NULL DEFAULT '{}',
    "budget_id" TEXT,
    "organization_id" TEXT,
    "object_permission_id" TEXT,
    "created_at" TEXT NOT NULL,
    "created_by" TEXT,
    "updated_at" TEXT NOT NULL,
    "updated_by" TEXT
);

CREATE INDEX "LiteLLM_VerificationToken_user_id_team_id_idx" ON "LiteLLM_VerificationToken" ("user_id", "team_id");
CREATE INDEX "LiteLLM_VerificationToken_team_id_idx" ON "LiteLLM_VerificationToken" ("team_id");
CREATE INDEX "LiteLLM_VerificationToken_budget_reset_at_expires_idx" ON "LiteLLM_VerificationToken" ("budget_reset_at", "expires");
-- Not LiteLLM's: it looks for a free alias before it writes, which two requests at once can both pass.
CREATE UNIQUE INDEX "witgate_VerificationToken_key_alias_idx" ON "LiteLLM_VerificationToken" ("key_alias") WHERE "key_alias" IS NOT NULL;
