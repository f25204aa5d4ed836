-- What the roles of roles.sql may do in the tables. The owner runs this after each migration:
--   psql "$DREAMLAYER_DATABASE_URL" --file=deploy/postgresql/rights.sql
-- It is one transaction, so processes that run keep their rights.
BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM dreamlayer_web, dreamlayer_worker;

-- Web processes: everything but the schema. The audit log is only added to.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO dreamlayer_web;
REVOKE UPDATE, DELETE ON accounts_auditentry FROM dreamlayer_web;
REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM dreamlayer_web;

-- Workers: what they paint, analyse and send, and what retention deletes.
GRANT SELECT, INSERT, UPDATE, DELETE ON
    inpainting_analysis,
    inpainting_analysismask,
    inpainting_batch,
    inpainting_batchitem,
    inpainting_conditioningimage,
    inpainting_draft,
    inpainting_draft_images,
    inpainting_draftimage,
    inpainting_flow,
    inpainting_generatedimage,
    inpainting_generation,
    inpainting_idempotencykey,
    inpainting_ledgerentry,
    inpainting_mask,
    inpainting_ownertotals,
    inpainting_periodicjob,
    inpainting_referenceimage,
    inpainting_share,
    inpainting_sourceimage,
    inpainting_stack,
    inpainting_stackshare,
    inpainting_stackshare_generations,
    inpainting_stackstep,
    inpainting_stepmask,
    inpainting_undeletedfile,
    inpainting_uploadedimage,
    inpainting_virtualtime,
    inpainting_webhookattempt,
    inpainting_webhookdelivery,
    inpainting_webhookpause,
    inpainting_worker
TO dreamlayer_worker;
GRANT SELECT ON
    django_migrations,
    inpainting_inferencemodel,
    inpainting_lora,
    inpainting_retention,
    inpainting_serviceoptions,
    inpainting_userlimits
TO dreamlayer_worker;
-- The first delivery to a user makes the secret that signs it; secrets are derived with DREAMLAYER_SECRET_KEY.
GRANT SELECT, INSERT ON inpainting_webhooksecret TO dreamlayer_worker;
-- Retention deletes expired counters, without reading which.
GRANT SELECT (expires), DELETE ON dreamlayer_cache TO dreamlayer_worker;
-- The row of an owner is locked, for which PostgreSQL requires UPDATE of some column: one that is always empty.
GRANT SELECT (id), UPDATE (first_name) ON accounts_user TO dreamlayer_worker;

-- Not for workers:
--   account_emailaddress
--   account_emailconfirmation
--   accounts_apikey
--   accounts_auditentry
--   accounts_ticket
--   accounts_user_groups
--   accounts_user_user_permissions
--   auth_group
--   auth_group_permissions
--   auth_permission
--   django_admin_log
--   django_content_type
--   django_session
--   mfa_authenticator
--   usersessions_usersession

COMMIT;
