-- INSPECT: what clients, the command line and tests read. Nothing here writes.

create or replace function pgflow.get_runs(run_ids uuid[])
returns table (run_id uuid, flow_slug text, version int, status text, input jsonb, output jsonb, error_message text,
  failed_step text, error_type text, key text, started_at timestamptz, ended_at timestamptz)
language sql stable set search_path = '' as $$
  select r.run_id, r.flow_slug, v.version, r.status, r.input, r.output, r.error_message, r.failed_step,
    case when r.failed_step is not null then (
      select a.error_type from pgflow.attempts a
      where a.run_id = r.run_id and a.step_slug = r.failed_step order by a.attempt_id desc limit 1) end,
    r.key, r.started_at, coalesce(r.completed_at, r.failed_at, r.cancelled_at)
  from unnest(run_ids) i
  join pgflow.runs r on r.run_id = i
  join pgflow.versions v on v.version_id = r.version_id;
$$;

-- Of these runs, those that ended: what a waiting client asks, for all that it waits for at once.
create or replace function pgflow.ended_runs(run_ids uuid[]) returns table (run_id uuid, status text)
language sql stable set search_path = '' as $$
  select i, coalesce(r.status, 'missing') from unnest(run_ids) i left join pgflow.runs r on r.run_id = i
  where r.status is distinct from 'started';
$$;

-- Newest first; `before` is the last run id of the page before. Run ids grow with time; of one flow, the time is indexed.
create or replace function pgflow.list_runs(
  flow_slug text default null, status text default null, before uuid default null, most int default 50
) returns setof pgflow.run_summary
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  page uuid[];
begin
  if list_runs.flow_slug is null then
    page := array(
      select r.run_id from pgflow.runs r
      where (list_runs.before is null or r.run_id < list_runs.before)
        and (list_runs.status is null or r.status = list_runs.status)
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
  select r.run_id, r.flow_slug, v.version, r.status, r.key, r.started_at,
    coalesce(r.completed_at, r.failed_at, r.cancelled_at), r.remaining_steps, r.failed_step, r.error_message
  from unnest(page) with ordinality as p (id, place)
  join pgflow.runs r on r.run_id = p.id
  join pgflow.versions v on v.version_id = r.version_id
  order by p.place;
end
$$;

-- The steps of a run in definition order, with what its tasks are doing.
create or replace function pgflow.run_steps(run_id uuid)
returns table (step_slug text, step_type text, status text, dependencies text[], initial_tasks int, completed_tasks int,
  running_tasks int, failed_attempts int, lost_workers int, skip_reason text, error_message text, output jsonb,
  started_at timestamptz, ended_at timestamptz, next_at timestamptz)
language sql stable set search_path = '' as $$
  select s.step_slug, s.step_type, t.status,
    array(select d.dep_slug from pgflow.deps d where d.version_id = s.version_id and d.step_slug = s.step_slug order by 1),
    t.initial_tasks, k.completed, k.running,
    (select count(*)::int from pgflow.attempts a where a.run_id = t.run_id and a.step_slug = t.step_slug),
    k.lost, t.skip_reason, t.error_message, t.output, t.started_at,
    coalesce(t.completed_at, t.failed_at, t.skipped_at), k.next_at
  from pgflow.runs r
  join pgflow.steps s on s.version_id = r.version_id
  join pgflow.step_states t on t.run_id = r.run_id and t.step_slug = s.step_slug
  cross join lateral (
    select count(*) filter (where j.status = 'completed')::int, count(*) filter (where j.stage = 'running')::int,
      coalesce(sum(j.requeued_count), 0)::int, min(j.ready_at) filter (where j.stage = 'delayed')
    from pgflow.step_tasks j where j.run_id = t.run_id and j.step_slug = t.step_slug
  ) k (completed, running, lost, next_at)
  where r.run_id = run_steps.run_id
  order by s.step_index;
$$;

create or replace function pgflow.run_attempts(run_id uuid, most int default 1000)
returns table (step_slug text, task_index int, attempt int, error_type text, error_message text, traceback text,
  worker_id uuid, started_at timestamptz, failed_at timestamptz)
language sql stable set search_path = '' as $$
  select a.step_slug, a.task_index, a.attempt, a.error_type, a.error_message, a.traceback, a.worker_id, a.started_at, a.failed_at
  from pgflow.attempts a where a.run_id = run_attempts.run_id order by a.attempt_id limit most;
$$;

-- Which versions of these flows a worker could serve: their steps, types and dependencies.
create or replace function pgflow.versions_of(flow_slugs text[])
returns table (flow_slug text, version_id int, version int, queue text, structure jsonb)
language sql stable set search_path = '' as $$
  select v.flow_slug, v.version_id, v.version, coalesce(v.queue, v.flow_slug), pgflow.structure_of(v.version_id)
  from pgflow.versions v
  where v.flow_slug = any (flow_slugs);
$$;
