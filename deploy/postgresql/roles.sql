-- The roles of a site: its owner migrates, web processes and workers have what rights.sql grants. A superuser runs this
-- once in the database of the site, and again at will:
--   psql --dbname=dreamlayer --file=deploy/postgresql/roles.sql
-- Then give each role its password, which is not sent or logged in clear: psql --command='\password dreamlayer_owner'
BEGIN;

DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['dreamlayer_owner', 'dreamlayer_web', 'dreamlayer_worker'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE', role);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), role);
    END LOOP;
    EXECUTE format('ALTER DATABASE %I OWNER TO dreamlayer_owner', current_database());
    EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO dreamlayer_owner;
GRANT USAGE ON SCHEMA public TO dreamlayer_web, dreamlayer_worker;

COMMIT;
