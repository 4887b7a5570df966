-- PRUNE: what ended long ago goes. Locks: the one row of pruning, so that one worker sweeps at a time; then ended runs, and
-- workers that stopped, which nobody else holds. It waits for no lock.

-- The next bit of a round over all flows: ended runs past their flow's retention, else past `days` (0: for ever). A round
-- begins `every` so often, and ends with the workers that stopped long ago. `again`: seconds until there is more to do.
create or replace function pgflow.prune(days float8 default 30, every interval default '5 minutes', most int default 500)
returns table (deleted int, workers int, again float8)
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  place pgflow.pruning;
  flow record;
  page record;
  looked int := 0;
begin
  deleted := 0;
  workers := 0;
  again := extract(epoch from every);
  select * into place from pgflow.pruning p for update skip locked;
  if not found then
    return next;
    return;
  end if;
  if place.flow_slug is null and place.finished_at between at - every and at then
    again := extract(epoch from place.finished_at + every - at);
    return next;
    return;
  end if;
  while looked < most and deleted = 0 loop
    select f.flow_slug, coalesce(f.opt_retention, days) as days into flow
    from pgflow.flows f
    where coalesce(f.opt_retention, days) > 0 and not f.opt_archive       -- those go with their archive (archive.sql)
      and (place.flow_slug is null or f.flow_slug > place.flow_slug
        or f.flow_slug = place.flow_slug and place.started_at < 'infinity')
    order by f.flow_slug limit 1;
    if not found then
      workers := pgflow.forget_workers(at - interval '7 days');
      update pgflow.pruning set flow_slug = null, started_at = null, run_id = null, finished_at = at;
      return next;
      return;
    end if;
    select * into page from pgflow.prune_runs(
      flow.flow_slug, at - make_interval(days => 1) * least(flow.days, 36500), most,
      case when place.flow_slug = flow.flow_slug then place.started_at end,
      case when place.flow_slug = flow.flow_slug then place.run_id end);
    place.flow_slug := flow.flow_slug;
    place.started_at := coalesce(page.last_start, 'infinity');
    place.run_id := page.last_run;
    looked := looked + page.looked;
    deleted := page.deleted;
  end loop;
  update pgflow.pruning p set flow_slug = place.flow_slug, started_at = place.started_at, run_id = place.run_id;
  again := 0;
  return next;
end
$$;

-- Forget runs of a flow that ended before then: those of the next page that may go, behind the run named. last_run null: there
-- are no more behind.
create or replace function pgflow.prune_runs(
  flow_slug text, before timestamptz, most int default 500, after_start timestamptz default null, after_run uuid default null
) returns table (deleted int, looked int, last_start timestamptz, last_run uuid)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  page record;
  doomed uuid[];
begin
  select * into page from pgflow.old_runs(flow_slug, before, most, after_start, after_run);
  doomed := pgflow.may_go(page.run_ids, before, pgflow.now());
  perform pgflow.forget_runs(doomed);
  deleted := cardinality(doomed);
  looked := cardinality(page.run_ids);
  last_start := page.last_start;
  last_run := page.last_run;
  return next;
end
$$;

-- The next runs of a flow that started before then, in that order: `most` at most, fewer when they have many tasks or log lines.
create or replace function pgflow.old_runs(
  flow_slug text, before timestamptz, most int, after_start timestamptz, after_run uuid,
  out run_ids uuid[], out last_start timestamptz, out last_run uuid)
language plpgsql as $$
#variable_conflict use_column
declare
  starts timestamptz[];
  lines int := 0;
begin
  select coalesce(array_agg(w.run_id order by w.started_at, w.run_id), '{}'),
    array_agg(w.started_at order by w.started_at, w.run_id)
  into run_ids, starts
  from (
    select p.run_id, p.started_at, sum(n.tasks) over (order by p.started_at, p.run_id) - n.tasks as sooner
    from (
      select r.run_id, r.started_at from pgflow.runs r
      where r.flow_slug = old_runs.flow_slug and r.started_at < before
        and (r.started_at, r.run_id) > (
          coalesce(after_start, '-infinity'), coalesce(after_run, '00000000-0000-0000-0000-000000000000'))
      order by r.started_at, r.run_id limit most
    ) p
    cross join lateral (
      select coalesce(sum(s.initial_tasks), 0) + 1 as tasks from pgflow.step_states s where s.run_id = any (array[p.run_id])
    ) n
  ) w
  where w.sooner < 10000;                    -- tasks of one transaction, or one run
  if exists (select from pgflow.logs l where l.run_id = any (run_ids)) then
    for nth in 1 .. cardinality(run_ids) loop
      lines := lines + (select count(*) from (select from pgflow.logs l where l.run_id = run_ids[nth] limit 20000) l);
      if lines >= 20000 then                 -- of one transaction, or one run
        run_ids := run_ids[:nth];
        exit;
      end if;
    end loop;
  end if;
  last_run := run_ids[cardinality(run_ids)];
  last_start := starts[cardinality(run_ids)];
end
$$;

-- Which of these runs may be forgotten, locked: they ended before then, and nobody asks for them any more. A child that its
-- live parent waits for or was woken by stays, and so does a run whose key is taken until a time of its own. A run that
-- somebody holds is left for the next round.
create or replace function pgflow.may_go(ids uuid[], before timestamptz, at timestamptz) returns uuid[]
language plpgsql as $$
begin
  return array(
    select r.run_id from pgflow.runs r
    where r.run_id = any (ids) and r.status || '' <> 'started'
      and coalesce(r.completed_at, r.failed_at, r.cancelled_at) < before
      and (r.key_guard is null or coalesce(r.key_until, 'infinity') = 'infinity' or r.key_until <= at)
      and not exists (
        select from pgflow.joins j
        join pgflow.step_tasks t on t.message_id = any (array[j.message_id]) and t.join_id = j.join_id
        join pgflow.runs p on p.run_id = any (array[j.run_id]) and p.status || '' = 'started'
        where j.join_id = any (array[r.join_id]))
    order by r.run_id for update of r skip locked);
end
$$;

-- Workers that stopped before then, and foreign ones that were not heard of since. One with a task in its hands stays.
create or replace function pgflow.forget_workers(before timestamptz, most int default 1000) returns int
language sql set search_path = pg_catalog, pg_temp as $$
  with old as (
    select w.worker_id from pgflow.workers w
    where (w.stopped_at < before or w.lease is null and w.last_heartbeat_at < before)
      and not exists (
        select from pgflow.step_tasks t where t.last_worker_id = w.worker_id and t.stage = 'running')
      and not exists (select from pgflow.slots s where s.worker_id = w.worker_id)
    order by w.worker_id limit most for update skip locked
  ), gone as (
    delete from pgflow.workers w using old o where w.worker_id = o.worker_id returning w.worker_id
  )
  select count(*)::int from gone;
$$;

-- For who prunes by hand: the days that runs of each definition are kept (0: for ever), and whether they are archived first.
create or replace function pgflow.kept_runs(days float8 default 30) returns table (flow_slug text, kept_days float8, archive boolean)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select f.flow_slug, coalesce(f.opt_retention, days), f.opt_archive from pgflow.flows f order by f.flow_slug;
$$;

-- The same as clients of before ask it, who have no archive.
create or replace function pgflow.retentions(days float8 default 30) returns table (flow_slug text, kept_days float8)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select k.flow_slug, k.kept_days from pgflow.kept_runs(days) k where not k.archive order by k.flow_slug;
$$;

-- That somebody pruned, in the audit.
create or replace function pgflow.note_pruned(flow_slug text, before timestamptz, runs int, actor text default null) returns void
language sql set search_path = pg_catalog, pg_temp as $$
  select pgflow.write_audit(pgflow.now(), actor, 'prune', 'flow', flow_slug, null, jsonb_build_object('before', before, 'runs', runs));
$$;
