-- START: runs and their first tasks.

-- Start many runs of one version of a flow, a machine or a job, in one statement each for runs, steps and tasks. The same
-- run id, or a key that is taken, answers with the run that has it (created = false), so a repeated call starts nothing
-- twice. version_id null: the current version, or the one that options name by number. Options of a run, all optional:
-- priority queue delay at concurrency rate weight fairness fairness_weight step; key_until (a time, or infinity) or
-- unique_for (seconds): how long a key stays taken after the end; check_input: another input under the same key is an error;
-- tags, metadata (labels.sql); parent join on_parent_end: for children; trace: what the run is part of (observe.sql).
create or replace function pgflow.start_runs(
  flow_slug text, inputs jsonb[], run_ids uuid[] default null, keys text[] default null, version_id int default null,
  options jsonb[] default null
) returns table ("position" int, run_id uuid, created boolean)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  held constant boolean := pgflow.hold_flow(start_runs.flow_slug);
  flow constant pgflow.flows := pgflow.flow_named(start_runs.flow_slug);
  shape constant int := coalesce(start_runs.version_id, pgflow.version_numbered(flow, (options[1] ->> 'version')::int));
  at constant timestamptz := pgflow.now();
  ids constant uuid[] := coalesce(run_ids, array(select pgflow.new_run_id() from unnest(inputs)));
  optional constant boolean := exists (select from unnest(options) o where o - 'trace' <> '{}');
  fresh uuid[];
  answers uuid[];
begin
  if not exists (select from pgflow.versions v where v.version_id = shape and v.flow_slug = flow.flow_slug) then
    perform pgflow.raise('PF404', format('flow %L has no version with the id %s in this database', flow.flow_slug, shape),
      'Deploy it again.');
  end if;
  if cardinality(ids) <> cardinality(inputs) then   -- inputs are found by the place of their id
    perform pgflow.raise('PF422', format('%s run ids are no ids for %s inputs', cardinality(ids), cardinality(inputs)),
      'Give one for each input, or none at all.');
  end if;
  perform pgflow.check_inputs(flow.flow_slug, shape, inputs);
  if optional then
    if flow.kind = 'flow' and exists (select from unnest(options) o where o ?| array['queue', 'concurrency', 'rate', 'step']) then
      perform pgflow.raise('PF422', format('flow %L: the queue and the limits of a flow belong to its steps, not to a start', flow.flow_slug),
        'Say them where the flow is defined.');
    end if;
    if exists (select from unnest(options) o where (o ->> 'fairness_weight')::float8 not between 0.001 and 1000000) then
      perform pgflow.raise('PF422', 'a fairness weight is a number from 0.001 to 1000000');
    end if;
    perform pgflow.check_limits(
      array(select o ->> 'concurrency' from unnest(options) o), array(select o ->> 'rate' from unnest(options) o),
      array(select (o ->> 'weight')::float8 from unnest(options) o));
    perform pgflow.check_labels(o -> 'tags', o -> 'metadata') from unnest(options) o where o ?| array['tags', 'metadata'];
  end if;
  if array_remove(keys, null) <> '{}' then   -- a key that was kept for a time is free after it
    update pgflow.runs r set key_guard = null
    where r.key_guard = any (keys) and r.status || '' <> 'started' and r.key_until <= at;
  end if;
  with wanted as (
    select w.id, w.place, w.key, w.option    -- without the inputs, which may be large, and are found by their place
    from unnest(ids, keys, options) with ordinality as w (id, key, option, place)
    -- two callers with the same keys take them in the same order; of one caller's twins the first counts
    order by w.key, case when w.key is null then w.id end, w.place
  ), inserted as (
    insert into pgflow.runs (run_id, flow_slug, version_id, kind, input, state, key, key_guard, key_until, remaining_steps,
      started_at, priority, fairness_key, fairness_weight, parent_run_id, join_id, on_parent_end, trace, tags, metadata)
    select w.id, flow.flow_slug, shape, flow.kind, i.input, case when flow.kind = 'machine' then i.input end, w.key, w.key,
      case when w.option ? 'unique_for' then at + make_interval(secs => (w.option ->> 'unique_for')::float8)
        else (w.option ->> 'key_until')::timestamptz end,
      case when flow.kind = 'flow' then s.steps else 1 end, at, coalesce((w.option ->> 'priority')::smallint, flow.opt_priority),
      case when flow.opt_fairness_by is not null or w.option ? 'fairness'
        then pgflow.key_text(coalesce(w.option ->> 'fairness', i.input #>> flow.opt_fairness_by)) end, (w.option ->> 'fairness_weight')::real,
      (w.option ->> 'parent')::uuid, (w.option ->> 'join')::bigint, w.option ->> 'on_parent_end', w.option -> 'trace',
      case when w.option ? 'tags' then pgflow.tags_in(w.option -> 'tags') end, nullif(w.option -> 'metadata', '{}')
    from wanted w
    cross join (select count(*) as steps from pgflow.steps s where s.version_id = shape) s
    cross join lateral (
      select case when flow.kind <> 'flow' and inputs[w.place] = 'null' then '{}' else inputs[w.place] end as input) i
    on conflict do nothing
    returning run_id
  )
  select coalesce(array_agg(i.run_id), '{}') into fresh from inserted i;
  if pgflow.somebody_listens() then perform pgflow.tell_runs('started', fresh); end if;
  if flow.kind <> 'flow' then
    perform pgflow.begin_machines(flow, shape, at, fresh, ids, options);
  elsif fresh <> '{}' then
    perform pgflow.begin_runs(fresh, shape, at);
    if optional then
      perform pgflow.delay_runs(fresh, ids, options, at);
    end if;
  end if;
  if flow.opt_fairness_by is not null or optional then
    perform pgflow.share_queues(fresh);
  end if;

  -- in one statement, which sees one moment: between two, the run that has a key may end
  answers := array(
    select case when f.id is null then pgflow.run_started_as(w.id, w.key, flow.flow_slug,
      case when w.option ->> 'check_input' = 'true' then inputs[w.place] end) else w.id end
    from unnest(ids, keys, options) with ordinality as w (id, key, option, place)
    left join unnest(fresh) as f (id) on f.id = w.id
    order by w.place);
  return query
  select a.place::int, a.id, f.id is not null and row_number() over (partition by a.id order by a.place) = 1
  from unnest(answers) with ordinality as a (id, place)
  left join unnest(fresh) as f (id) on f.id = a.id
  where a.id is not null
  order by a.place;

  if array_position(answers, null) is not null then          -- keys that live runs had a moment ago, and nobody has now
    return query
    with again as (
      select array_agg(w.place::int order by w.place) as places, array_agg(w.input order by w.place) as inputs,
        array_agg(w.id order by w.place) as ids, array_agg(w.key order by w.place) as keys,
        array_agg(w.option order by w.place) as options
      from unnest(ids, keys, inputs, options, answers) with ordinality as w (id, key, input, option, answer, place)
      where w.answer is null
    )
    select a.places[s.position], s.run_id, s.created
    from again a
    cross join lateral pgflow.start_runs(start_runs.flow_slug, a.inputs, a.ids, a.keys, shape, a.options) s;
  end if;
end
$$;

create or replace function pgflow.version_numbered(flow pgflow.flows, number int) returns int
language plpgsql stable as $$
declare
  found_id int := flow.version_id;
begin
  if number is not null then
    select v.version_id into found_id from pgflow.versions v where v.flow_slug = flow.flow_slug and v.version = number;
    if not found then
      perform pgflow.raise('PF404', format('%s %L has no version %s in this database', flow.kind, flow.flow_slug, number),
        'Start a worker that has it, or deploy it.');
    end if;
  end if;
  return found_id;
end
$$;

-- Tell the workers that listen that these flows have something to do. Not part of a start: NOTIFY takes a lock on the
-- whole database when its transaction commits, so a caller that starts much sends one for many.
create or replace function pgflow.wake_flows(flow_slugs text[]) returns setof text
language plpgsql set search_path = pg_catalog, pg_temp as $$
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
    perform pgflow.raise('PF404', format('no flow, machine or job %L in this database', slug),
      'Start a worker that has it, or deploy it.');
  end if;
  return flow;
end
$$;

-- A map over the flow's input needs an array, of a length that can be; and no input is too large.
create or replace function pgflow.check_inputs(flow_slug text, version int, inputs jsonb[]) returns void
language plpgsql stable as $$
declare
  kind text;
  elements int;
begin
  if pg_column_size(inputs) > 1048576 then
    perform pgflow.check_payloads(inputs, format('an input of %L', flow_slug));
  end if;
  if not exists (
    select from pgflow.steps s where s.version_id = version and s.step_type = 'map' and s.deps_count = 0) then
    return;
  end if;
  for kind, elements in
    select coalesce(jsonb_typeof(i), 'NULL'), case when jsonb_typeof(i) = 'array' then jsonb_array_length(i) end
    from unnest(inputs) i
  loop
    if kind = 'NULL' then
      raise exception 'Flow % has root map steps but input is NULL', flow_slug;
    elsif kind <> 'array' then
      raise exception 'Flow % has root map steps but input is not an array (got %)', flow_slug, kind;
    elsif elements > 10000 then
      perform pgflow.refuse_width(check_inputs.flow_slug, s.step_slug, elements, l.max_elements)
      from pgflow.steps s, pgflow.payload_limits l
      where s.version_id = version and s.step_type = 'map' and s.deps_count = 0 and elements > l.max_elements;
    end if;
  end loop;
end
$$;

-- Which run answers for this id and key.
create or replace function pgflow.run_started_as(id uuid, key text, flow_slug text, input jsonb) returns uuid
language plpgsql stable as $$
declare
  run pgflow.runs;
begin
  select * into run from pgflow.runs r
  where r.run_id = id or r.key_guard = run_started_as.key
  order by r.run_id <> id limit 1;
  if run.flow_slug <> run_started_as.flow_slug then
    perform pgflow.raise('PF409',
      case when run.run_id = id then format('the run id %s belongs to a run of %s %L', id, run.kind, run.flow_slug)
        else format('key %L belongs to run %s of %s %L', run_started_as.key, run.run_id, run.kind, run.flow_slug) end,
      'Give runs of different flows different keys and ids.');
  elsif input is not null and run.input <> input then
    perform pgflow.raise('PF409', format('key %L belongs to run %s, which was started with another input',
      coalesce(run_started_as.key, id::text), run.run_id), 'Use a key that says what differs.');
  end if;
  return run.run_id;
end
$$;

-- pgflow's start: one run, and its row as it is now. A run id that was used is a unique violation.
create or replace function pgflow.start_flow(flow_slug text, input jsonb, run_id uuid default null)
returns setof pgflow.runs
language plpgsql set search_path = pg_catalog, pg_temp as $$
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
