-- INSPECT: what clients, the command line and tests read. Nothing here writes.

create or replace function pgflow.get_runs(run_ids uuid[])
returns table (run_id uuid, flow_slug text, kind text, version int, status text, input jsonb, output jsonb, error_message text,
  failed_step text, error_type text, key text, started_at timestamptz, ended_at timestamptz, state jsonb, priority smallint,
  parent_run_id uuid, origin_run_id uuid, paused_at timestamptz, tags text[], metadata jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.run_id, r.flow_slug, r.kind, v.version, r.status, r.input, r.output, r.error_message, r.failed_step,
    case when r.failed_step is not null then (
      select a.error_type from pgflow.attempts a
      where a.run_id = r.run_id and a.step_slug = r.failed_step order by a.attempt_id desc limit 1) end,
    r.key, r.started_at, coalesce(r.completed_at, r.failed_at, r.cancelled_at), r.state, r.priority,
    r.parent_run_id, r.origin_run_id, r.paused_at, coalesce(r.tags, '{}'), coalesce(r.metadata, '{}')
  from unnest(run_ids) i
  join pgflow.runs r on r.run_id = i
  join pgflow.versions v on v.version_id = r.version_id;
$$;

-- The live run with this key, else the one that had it last; no row when none ever did.
create or replace function pgflow.find_run(key text) returns setof uuid
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.run_id from pgflow.runs r where r.key = find_run.key
  order by r.key_guard is null, r.started_at desc, r.run_id desc limit 1;
$$;

-- Of these runs, those that ended: what a waiting client asks, for all that it waits for at once.
create or replace function pgflow.ended_runs(run_ids uuid[]) returns table (run_id uuid, status text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select i, coalesce(r.status, 'missing') from unnest(run_ids) i left join pgflow.runs r on r.run_id = i
  where r.status is distinct from 'started';
$$;

-- Newest first; `before` is the last run id of the page before. Run ids grow with time; of one flow, the time is indexed.
create or replace function pgflow.list_runs(
  flow_slug text default null, status text default null, before uuid default null, most int default 50,
  kind text default null
) returns setof pgflow.run_summary
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  page uuid[];
begin
  if list_runs.flow_slug is null then
    page := array(
      select r.run_id from pgflow.runs r
      where (list_runs.before is null or r.run_id < list_runs.before)
        and (list_runs.status is null or r.status = list_runs.status) and (list_runs.kind is null or r.kind = list_runs.kind)
      order by r.run_id desc limit list_runs.most);
  else
    page := array(
      select r.run_id from pgflow.runs r
      where r.flow_slug = list_runs.flow_slug and (list_runs.status is null or r.status = list_runs.status)
        and (list_runs.before is null or (r.started_at, r.run_id) < (
          select b.started_at, b.run_id from pgflow.runs b where b.run_id = list_runs.before))
      order by r.started_at desc, r.run_id desc limit list_runs.most);
  end if;
  return query
  select r.run_id, r.flow_slug, r.kind, v.version, r.status, r.key, r.started_at,
    coalesce(r.completed_at, r.failed_at, r.cancelled_at), r.remaining_steps, r.failed_step, r.error_message, r.paused_at
  from unnest(page) with ordinality as p (id, place)
  join pgflow.runs r on r.run_id = p.id
  join pgflow.versions v on v.version_id = r.version_id
  order by p.place;
end
$$;

-- The steps of a run in definition order, with what its tasks are doing. Of a machine or a job the one step where it stands.
create or replace function pgflow.run_steps(run_id uuid)
returns table (step_slug text, step_type text, status text, dependencies text[], initial_tasks int, completed_tasks int,
  running_tasks int, failed_attempts int, lost_workers int, skip_reason text, error_message text, output jsonb,
  started_at timestamptz, ended_at timestamptz, next_at timestamptz, awaits text[], blocked_on text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select s.step_slug, s.step_type, t.status,
    array(select d.dep_slug from pgflow.deps d where d.version_id = s.version_id and d.step_slug = s.step_slug order by 1),
    t.initial_tasks, k.completed, k.running,
    (select count(*)::int from pgflow.attempts a where a.run_id = t.run_id and a.step_slug = t.step_slug),
    k.lost, t.skip_reason, t.error_message, t.output, t.started_at,
    coalesce(t.completed_at, t.failed_at, t.skipped_at), k.next_at, k.awaits, k.blocked_on
  from pgflow.runs r
  join pgflow.steps s on s.version_id = r.version_id
  join pgflow.step_states t on t.run_id = r.run_id and t.step_slug = s.step_slug
  cross join lateral (
    select count(*) filter (where j.status = 'completed')::int, count(*) filter (where j.stage = 'running')::int,
      coalesce(sum(j.requeued_count), 0)::int, min(j.ready_at) filter (where j.stage = 'delayed'),
      max(j.awaits) filter (where j.waiting), max(j.blocked_on)
    from pgflow.step_tasks j where j.run_id = t.run_id and j.step_slug = t.step_slug
  ) k (completed, running, lost, next_at, awaits, blocked_on)
  where r.run_id = run_steps.run_id and r.kind = 'flow'
  union all
  select t.step_slug, 'single', case when t.stage = 'closed' then case when t.status in ('queued', 'started') then r.status else t.status end
      when t.waiting then 'waiting' else t.stage end, '{}', 1,
    (t.status = 'completed')::int, (t.stage = 'running')::int,
    (select count(*)::int from pgflow.attempts a where a.run_id = t.run_id), t.requeued_count, null, t.error_message, r.output,
    coalesce(t.started_at, r.started_at), coalesce(t.completed_at, t.failed_at),
    case when t.stage = 'delayed' then t.ready_at end, case when t.waiting then t.awaits end, t.blocked_on
  from pgflow.runs r join pgflow.step_tasks t on t.run_id = r.run_id
  where r.run_id = run_steps.run_id and r.kind <> 'flow';
$$;

create or replace function pgflow.run_attempts(run_id uuid, most int default 1000)
returns table (step_slug text, task_index int, attempt int, error_type text, error_message text, traceback text,
  worker_id uuid, started_at timestamptz, failed_at timestamptz)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select a.step_slug, a.task_index, a.attempt, a.error_type, a.error_message, a.traceback, a.worker_id, a.started_at, a.failed_at
  from pgflow.attempts a where a.run_id = run_attempts.run_id order by a.attempt_id limit most;
$$;

-- Which versions of these flows a worker could serve, in which queues: their steps, types and dependencies.
create or replace function pgflow.versions_of(flow_slugs text[])
returns table (flow_slug text, version_id int, version int, queue text, kind text, structure jsonb)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select v.flow_slug, v.version_id, v.version, q.queue, f.kind, pgflow.structure_of(v.version_id)
  from pgflow.versions v join pgflow.flows f on f.flow_slug = v.flow_slug
  cross join lateral (
    select coalesce(v.queue, v.flow_slug) as queue
    union select l.queue from pgflow.lanes l where l.version_id = v.version_id) q
  where v.flow_slug = any (flow_slugs);
$$;

-- A run as its row is; null: there is no such run. With its steps it is get_run_with_states (surface_runs.sql).
create or replace function pgflow.get_run(run_id uuid) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (select to_jsonb(r) from pgflow.runs r where r.run_id = get_run.run_id);
end
$$;
