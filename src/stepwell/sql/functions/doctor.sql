-- DOCTOR: what is wrong with the work in a database, as sets. Nothing here writes or locks, and nothing looks at more rows than it
-- says, so that it can be asked of a large database while it works. What is wrong with the server is asked in db/doctor/server.py.

-- The lanes that have something ready, with what stands in the way of it: a pause, or that nobody takes it on. Lanes are found by
-- skipping from one to the next in the index of the claim.
create or replace function pgflow.ready_lanes(most int default 500)
returns table (queue text, flow_slug text, version int, ready int, oldest_at timestamptz, paused text, paused_at timestamptz,
  reason text, said text, remedy text)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  return query
  with recursive lane as (
    (select t.queue, t.version_id, 1 as n from pgflow.step_tasks t
      where t.stage = 'ready' order by t.queue, t.version_id limit 1)
    union all
    select h.queue, h.version_id, l.n + 1
    from lane l cross join lateral (
      select t.queue, t.version_id from pgflow.step_tasks t
      where t.stage = 'ready' and (t.queue, t.version_id) > (l.queue, l.version_id) order by t.queue, t.version_id limit 1) h
    where l.n < most
  )
  select l.queue, v.flow_slug, v.version, r.ready, r.oldest_at, p.kind, p.paused_at, s.reason, s.said, s.remedy
  from lane l
  join pgflow.versions v on v.version_id = l.version_id
  cross join lateral (
    select count(*)::int, min(w.ready_at) from (
      select t.ready_at from pgflow.step_tasks t
      where t.stage = 'ready' and t.queue = l.queue and t.version_id = l.version_id limit 10000) w) r (ready, oldest_at)
  left join lateral (
    select p.kind, p.paused_at from pgflow.pauses p
    where (p.kind = 'queue' and p.name = l.queue) or (p.kind = 'flow' and p.name = v.flow_slug) order by p.paused_at limit 1) p on true
  cross join lateral pgflow.service_of(l.queue, l.version_id) s
  where r.ready > 0;
end
$$;

-- Tasks that had their time so long ago and were not promoted, counted up to 10,000.
create or replace function pgflow.late_timers(margin interval) returns table (late int, oldest_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  select count(*)::int, min(d.ready_at) from (
    select t.ready_at from pgflow.step_tasks t where t.stage = 'delayed' and t.ready_at < at - margin order by t.ready_at limit 10000) d
  having count(*) > 0;
end
$$;

-- Tasks in the hands of workers that are gone, or past their timeout, for so long that somebody should have taken them back.
create or replace function pgflow.unclaimed_losses(margin interval)
returns table (flow_slug text, tasks int, oldest_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  select t.flow_slug, count(*)::int, min(t.started_at)
  from pgflow.stalled_tasks(at, margin) l
  join pgflow.step_tasks t on t.message_id = any (array[l.message_id])
  left join pgflow.workers w on w.worker_id = t.last_worker_id
  where not l.lost or coalesce(w.stopped_at, t.started_at) < at - margin
  group by t.flow_slug order by 2 desc limit 100;
end
$$;

-- Tasks that keep losing their workers, among those that run or are about to again: what ends a process so often may be the task.
create or replace function pgflow.deadly_tasks(times int default 2)
returns table (run_id uuid, flow_slug text, step_slug text, lost int)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  return query
  select d.run_id, d.flow_slug, d.step_slug, d.requeued_count from (
    (select t.* from pgflow.step_tasks t where t.stage = 'running' limit 10000)
    union all
    (select t.* from pgflow.step_tasks t where t.stage = 'delayed' order by t.ready_at limit 10000)) d
  where d.requeued_count >= times order by d.requeued_count desc limit 20;
end
$$;

-- Gates that somebody waits for although they have room, and slots that nobody gives back.
create or replace function pgflow.stuck_gates(margin interval, most int default 200)
returns table (gate text, waiting int, taken int, capacity int, lost int, oldest_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  with recursive waited as (
    select (select t.blocked_on from pgflow.step_tasks t where t.stage = 'blocked' order by t.blocked_on limit 1) as name, 1 as n
    union all
    select (select t.blocked_on from pgflow.step_tasks t where t.stage = 'blocked' and t.blocked_on > w.name
      order by t.blocked_on limit 1), w.n + 1
    from waited w where w.name is not null and w.n < most
  ), gone as (
    select s.gate as name, count(*)::int as lost
    from pgflow.slots s
    left join pgflow.workers w on w.worker_id = s.worker_id
    where s.worker_id is not null and (w.worker_id is null or w.stopped_at < at - margin and w.lease is not null)
    group by s.gate limit most
  )
  select g.name, b.waiting, k.taken, pgflow.capacity_of(g.name), coalesce(o.lost, 0), b.oldest_at
  from (select w.name from waited w where w.name is not null union select o.name from gone o) g
  left join gone o on o.name = g.name
  cross join lateral (select count(*)::int from pgflow.slots s where s.gate = g.name) k (taken)
  cross join lateral (
    select count(*)::int, min(x.ready_at) from (
      select t.ready_at from pgflow.step_tasks t where t.stage = 'blocked' and t.blocked_on = g.name limit 1000) x) b (waiting, oldest_at)
  where o.lost > 0 or k.taken < pgflow.capacity_of(g.name) and b.oldest_at < at - margin
    and not exists (select from pgflow.owed_wakes e where e.gate = g.name and e.since > at - margin);
end
$$;

-- Live runs without an open task, among the newest: no way of the engine leads there.
create or replace function pgflow.runs_without_tasks(most int default 10000) returns setof uuid
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  return query
  select r.run_id from (select n.run_id, n.status from pgflow.runs n order by n.run_id desc limit most) r
  where r.status = 'started' and not exists (
    select from pgflow.step_tasks t where t.run_id = r.run_id and t.stage <> 'closed')
  limit 20;
end
$$;

-- Schedules whose slot nobody fired, and those whose last firing started nothing.
create or replace function pgflow.troubled_schedules(margin interval)
returns table (name text, flow_slug text, next_at timestamptz, late boolean, error_message text)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  select s.name, s.flow_slug, s.next_at, s.next_at < at - margin, s.error_message from pgflow.schedules s
  where s.paused_at is null and (s.next_at < at - margin or s.error_message is not null)
  order by s.next_at limit 100;
end
$$;

-- Dead letters by queue, counted up to so many.
create or replace function pgflow.count_dead_letters(most int default 10000)
returns table (queue text, letters int, latest_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return query
  select d.queue, count(*)::int, max(d.died_at) from (
    select l.queue, l.died_at from pgflow.dead_letters l order by l.dead_letter_id desc limit most) d
  group by d.queue order by 2 desc limit 100;
end
$$;

-- Queues of messages that nobody reads, or that are read too slowly: what is visible, and since when.
create or replace function pgflow.waiting_messages()
returns table (queue text, ready int, oldest_at timestamptz, served boolean, paused boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return query
  select m.queue, m.ready, m.oldest_at, pgflow.is_served(m.queue), exists (
    select from pgflow.pauses p where p.kind = 'queue' and p.name = m.queue)
  from pgflow.message_queues(10000) m where m.ready > 0;
end
$$;

-- When the last round over old runs ended, how many runs there are by the planner's estimate, and whether any of them may go at all.
create or replace function pgflow.pruning_state()
returns table (finished_at timestamptz, runs float8, first_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return query
  select p.finished_at, c.reltuples::float8, (select min(m.applied_at) from pgflow.stepwell_migrations m)
  from pgflow.pruning p, pg_class c where c.oid = 'pgflow.runs'::regclass;
end
$$;

-- Workers whose clocks were further off than so many seconds when they last said what they serve.
create or replace function pgflow.worker_clocks(most float8) returns table (name text, host text, ahead float8)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return query
  select w.function_name, w.host, w.clock_ahead from pgflow.workers w
  where w.stopped_at is null and abs(w.clock_ahead) > worker_clocks.most
  order by abs(w.clock_ahead) desc limit 100;
end
$$;

-- Definitions whose old runs wait for an archive that nobody runs: no round over them has ended for so long. `days` is how long runs
-- are kept where their definition says nothing. Looks at the hundred oldest runs of each.
create or replace function pgflow.unarchived(idle interval, days float8 default 30)
returns table (flow_slug text, finished_at timestamptz, oldest_at timestamptz)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return query
  select f.flow_slug, a.finished_at, o.ended
  from pgflow.flows f
  left join pgflow.archiving a on a.flow_slug = f.flow_slug
  cross join lateral (
    select min(p.ended) as ended from (
      select coalesce(r.completed_at, r.failed_at, r.cancelled_at) as ended
      from pgflow.runs r where r.flow_slug = f.flow_slug order by r.started_at limit 100) p
  ) o
  where f.opt_archive and coalesce(f.opt_retention, days) > 0
    and (a.finished_at is null or a.finished_at < pgflow.now() - idle)
    and o.ended < pgflow.now() - idle - make_interval(days => 1) * least(coalesce(f.opt_retention, days), 36500)
  order by 1 limit 100;
end
$$;

-- Old runs of which an archive can have no document (runs_to_archive), by definition: how many, and the one that was tried last.
create or replace function pgflow.refused_runs(most int default 100)
returns table (flow_slug text, runs bigint, run_id uuid, message text)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  return query
  select f.flow_slug, count(*), (array_agg(f.run_id order by f.refused_at desc))[1],
    (array_agg(f.message order by f.refused_at desc))[1]
  from (select * from pgflow.archive_refusals f order by f.refused_at desc limit 10000) f
  join pgflow.runs r on r.run_id = any (array[f.run_id]) and r.status || '' <> 'started'
  group by 1 order by 1 limit refused_runs.most;
end
$$;
