-- START: runs and their first tasks.

-- Start many runs of one version, in one statement each for runs, steps and tasks. The same run id or the
-- same key answers with the run that has it (created = false), so a repeated call starts nothing twice.
-- version_id null: the flow's current version.
create or replace function pgflow.start_runs(
  flow_slug text, inputs jsonb[], run_ids uuid[] default null, keys text[] default null, version_id int default null
) returns table ("position" int, run_id uuid, created boolean)
language plpgsql set search_path = '' set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
#variable_conflict use_column
declare
  flow constant pgflow.flows := pgflow.flow_named(start_runs.flow_slug);
  shape constant int := coalesce(start_runs.version_id, flow.version_id);
  at constant timestamptz := pgflow.now();
  ids constant uuid[] := coalesce(run_ids, array(select pgflow.new_run_id() from unnest(inputs)));
  fresh uuid[];
begin
  if not exists (select from pgflow.versions v where v.version_id = shape and v.flow_slug = flow.flow_slug) then
    perform pgflow.raise('PF404', format('flow %L has no version with the id %s in this database', flow.flow_slug, shape),
      'Deploy it again.');
  end if;
  perform pgflow.check_inputs(flow.flow_slug, shape, inputs);
  with wanted as (
    select w.id, w.input, w.key from unnest(ids, inputs, keys) with ordinality as w (id, input, key, place)
    -- two callers with the same keys take them in the same order; of one caller's twins the first counts
    order by w.key, case when w.key is null then w.id end, w.place
  ), inserted as (
    insert into pgflow.runs (run_id, flow_slug, version_id, kind, input, key, key_guard, remaining_steps, started_at)
    select w.id, flow.flow_slug, shape, flow.kind, w.input, w.key, w.key, s.steps, at
    from wanted w, (select count(*) as steps from pgflow.steps s where s.version_id = shape) s
    on conflict do nothing
    returning run_id
  )
  select coalesce(array_agg(i.run_id), '{}') into fresh from inserted i;
  perform pgflow.begin_runs(fresh, shape, at);

  return query
  select w.position::int,
    case when f.id is null then pgflow.run_started_as(w.id, w.key, flow.flow_slug) else w.id end,
    f.id is not null and row_number() over (partition by w.id order by w.position) = 1
  from unnest(ids, keys) with ordinality as w (id, key, "position")
  left join unnest(fresh) as f (id) on f.id = w.id
  order by w.position;
end
$$;

-- Tell the workers that listen that these flows have something to do. Not part of a start: NOTIFY takes a lock on the
-- whole database when its transaction commits, so a caller that starts much sends one for many.
create or replace function pgflow.wake_flows(flow_slugs text[]) returns setof text
language plpgsql set search_path = '' as $$
declare
  queue text;
begin
  for queue in
    select distinct coalesce(v.queue, v.flow_slug)
    from pgflow.flows f join pgflow.versions v on v.version_id = f.version_id
    where f.flow_slug = any (flow_slugs)
  loop
    perform pg_notify('stepwell', queue);
    return next queue;
  end loop;
end
$$;

create or replace function pgflow.flow_named(slug text) returns pgflow.flows
language plpgsql stable as $$
declare
  flow pgflow.flows;
begin
  select * into flow from pgflow.flows f where f.flow_slug = slug;
  if not found then
    perform pgflow.raise('PF404', format('no flow %L in this database', slug),
      'Start a worker that has it, or deploy it.');
  end if;
  return flow;
end
$$;

-- A map over the flow's input needs an array.
create or replace function pgflow.check_inputs(flow_slug text, version int, inputs jsonb[]) returns void
language plpgsql stable as $$
declare
  kind text;
begin
  if not exists (
    select from pgflow.steps s where s.version_id = version and s.step_type = 'map' and s.deps_count = 0) then
    return;
  end if;
  for kind in select coalesce(jsonb_typeof(i), 'NULL') from unnest(inputs) i loop
    if kind = 'NULL' then
      raise exception 'Flow % has root map steps but input is NULL', flow_slug;
    elsif kind <> 'array' then
      raise exception 'Flow % has root map steps but input is not an array (got %)', flow_slug, kind;
    end if;
  end loop;
end
$$;

-- Which run answers for this id and key.
create or replace function pgflow.run_started_as(id uuid, key text, flow_slug text) returns uuid
language plpgsql stable as $$
declare
  run pgflow.runs;
begin
  select * into run from pgflow.runs r
  where r.run_id = id or r.key_guard = run_started_as.key
  order by r.run_id <> id limit 1;
  if run.flow_slug <> run_started_as.flow_slug then
    perform pgflow.raise('PF409',
      case when run.run_id = id then format('the run id %s belongs to a run of flow %L', id, run.flow_slug)
        else format('key %L belongs to run %s of flow %L', run_started_as.key, run.run_id, run.flow_slug) end,
      'Give runs of different flows different keys and ids.');
  end if;
  return run.run_id;
end
$$;

-- The steps of new runs, and the tasks of those that wait for nothing.
create or replace function pgflow.begin_runs(fresh uuid[], version int, at timestamptz) returns void
language plpgsql as $$
declare
  steps constant int := (select count(*) from pgflow.steps s where s.version_id = version);
  rooted constant boolean := exists (
    select from pgflow.steps s where s.version_id = version and s.deps_count = 0
      and (s.step_type = 'map' or s.required_input_pattern is not null or s.forbidden_input_pattern is not null));
  ready pgflow.step_ref[];
begin
  if fresh = '{}' then
    return;
  end if;
  if steps = 0 then
    update pgflow.runs r set status = 'completed', completed_at = at where r.run_id = any (fresh);
    return;
  end if;
  -- plain roots are inserted as started; only a root that can be skipped or empty takes the long way
  insert into pgflow.step_states (
    flow_slug, run_id, step_slug, remaining_deps, initial_tasks, created_at, status, started_at, remaining_tasks)
  select s.flow_slug, r.run_id, s.step_slug, s.deps_count,
    case when s.step_type = 'single' then 1 when s.deps_count = 0 then jsonb_array_length(r.input) end, at,
    case when plain then 'started' else 'created' end, case when plain then at end, case when plain then 1 end
  from pgflow.runs r
  cross join lateral (
    select s.*, s.deps_count = 0 and not rooted as plain from pgflow.steps s where s.version_id = version) s
  where r.run_id = any (fresh);

  select array_agg((r, version, s.step_slug)::pgflow.step_ref) into ready
  from unnest(fresh) r, pgflow.steps s where s.version_id = version and s.deps_count = 0;
  if rooted then
    perform pgflow.advance_flows(ready, '{}', '{}', at, null, '{}', '{}', 0);
  else
    perform pgflow.insert_tasks(ready, at, null, '{}', '{}', 0);
  end if;
end
$$;

-- pgflow's start: one run, and its row as it is now. A run id that was used is a unique violation.
create or replace function pgflow.start_flow(flow_slug text, input jsonb, run_id uuid default null)
returns setof pgflow.runs
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  started record;
begin
  if not exists (select from pgflow.flows f where f.flow_slug = start_flow.flow_slug) then
    raise foreign_key_violation using constraint = 'runs_flow_slug_fkey', table = 'runs', schema = 'pgflow',
      message = 'insert or update on table "runs" violates foreign key constraint "runs_flow_slug_fkey"',
      detail = format('Key (flow_slug)=(%s) is not present in table "flows".', flow_slug);
  end if;
  select * into started from pgflow.start_runs(
    start_flow.flow_slug, array[start_flow.input], case when start_flow.run_id is not null then array[start_flow.run_id] end);
  if not started.created then
    raise unique_violation using constraint = 'runs_pkey', table = 'runs', schema = 'pgflow',
      message = 'duplicate key value violates unique constraint "runs_pkey"',
      detail = format('Key (run_id)=(%s) already exists.', start_flow.run_id);
  end if;
  return query select * from pgflow.runs r where r.run_id = started.run_id;
end
$$;
