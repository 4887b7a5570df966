-- AUDIT: who did what to what, and when. Locks: who prunes takes old rows, with skip locked; nobody else comes back to one.

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

-- Forget what was done longer ago than `days` (0: nothing), the oldest first: the next `most` rows behind `after`. What somebody holds
-- waits for the next round. last_id null: the rest is younger, or there is none.
create or replace function pgflow.prune_audit(days float8 default 90, after bigint default 0, most int default 1000)
returns table (deleted int, last_id bigint)
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  before constant timestamptz := pgflow.now() - make_interval(days => 1) * least(prune_audit.days, 36500);
  old bigint[];
begin
  old := array(
    select p.audit_id from (
      select a.audit_id, a.at from pgflow.audit a
      where prune_audit.days > 0 and a.audit_id > prune_audit.after order by a.audit_id limit prune_audit.most) p
    where p.at < before order by p.audit_id);
  delete from pgflow.audit a
  where a.audit_id = any (array(select h.audit_id from pgflow.audit h where h.audit_id = any (old) for update skip locked));
  get diagnostics deleted = row_count;
  last_id := case when cardinality(old) = prune_audit.most then old[prune_audit.most] end;
  return next;
end
$$;
