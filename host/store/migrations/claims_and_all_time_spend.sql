-- Keys are found by the claims of a token. The index for that was never made: its name, cut to what PostgreSQL takes, was that of another.
CREATE INDEX IF NOT EXISTS "LiteLLM_JWTKeyMapping_jwt_issuer_jwt_claim_name_jwt_claim_v_idx" ON "LiteLLM_JWTKeyMapping" ("jwt_issuer", "jwt_claim_name", "jwt_claim_value", "is_active");

-- What was ever spent is at least what is spent since the last reset; until now nobody wrote it.
UPDATE "LiteLLM_VerificationToken" SET "total_spend" = "spend" WHERE "total_spend" < "spend";
UPDATE "LiteLLM_TeamMembership" SET "total_spend" = "spend" WHERE "total_spend" < "spend";
