-- AUDIT: who did what to what, and when.

-- The actor is who the caller says, else who the session says (`set pgflow.actor = 'ann'`), else the database user.
create or replace function pgflow.write_audit(
  at timestamptz, actor text, action text, kind text, target text, run_id uuid, detail jsonb default null
) returns void
language sql as $$
  insert into pgflow.audit (at, actor, action, kind, target, run_id, detail)
  values (at, coalesce(actor, nullif(current_setting('pgflow.actor', true), ''), session_user), action, kind, target, run_id,
    nullif(jsonb_strip_nulls(detail), '{}'));
$$;

-- What was done, newest first: to one run, or to anything.
create or replace function pgflow.list_audit(run uuid default null, most int default 100) returns setof pgflow.audit
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  if run is null then
    return query select * from pgflow.audit a order by a.audit_id desc limit most;
  else
    return query select * from pgflow.audit a where a.run_id = run order by a.audit_id desc limit most;
  end if;
end
$$;
