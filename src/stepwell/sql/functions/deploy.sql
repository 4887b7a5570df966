-- DEPLOY: code says what its flow looks like, and learns which version that is.

-- The version of this shape; made when there is none. `make_current`: a start by name gets it from now on, and
-- what it says of the flow counts. A flow that is new here is current in any case.
create or replace function pgflow.ensure_flow(shape jsonb, make_current boolean default true)
returns table (version_id int, version int, status text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  slug constant text := shape ->> 'slug';
  wanted constant jsonb := pgflow.structure_in(shape);
  current_version int;
  found_version int;
  outcome text := 'verified';
begin
  perform pg_advisory_xact_lock(1, hashtext(slug));
  perform pgflow.check_kind(slug, coalesce(shape ->> 'kind', 'flow'));
  if shape ->> 'kind' in ('machine', 'job') then
    return query select * from pgflow.ensure_machine(shape, make_current);
    return;
  end if;
  select f.version_id into current_version from pgflow.flows f where f.flow_slug = slug;
  select v.version_id into found_version from pgflow.versions v
  where v.flow_slug = slug and pgflow.structure_of(v.version_id) = wanted
    and v.queue is not distinct from shape -> 'options' ->> 'queue'
  order by v.version desc limit 1;

  if found_version is null then
    outcome := 'created';
    found_version := pgflow.create_version(shape);
  end if;
  update pgflow.flows f set version_id = w.version_id
  from (select case when make_current or current_version is null then found_version else current_version end) w (version_id)
  where f.flow_slug = slug and f.version_id is distinct from w.version_id;
  if make_current or current_version is null then
    perform pgflow.apply_flow_options(shape);
  end if;
  if make_current or outcome = 'created' then
    perform pgflow.apply_step_options(shape, found_version);
  end if;
  perform pgflow.want_input(shape);
  return query select v.version_id, v.version, outcome from pgflow.versions v where v.version_id = found_version;
end
$$;

-- One name is one kind of thing.
create or replace function pgflow.check_kind(slug text, kind text) returns void
language plpgsql as $$
declare
  known constant text := (
    select f.kind from pgflow.flows f
    where f.flow_slug = slug and exists (select from pgflow.versions v join pgflow.steps s using (version_id) where v.flow_slug = slug));
begin
  if known <> kind then
    perform pgflow.raise('PF409', format('%L is a %s in this database, not a %s', slug, known, kind), 'Give it another name.');
  end if;
end
$$;

-- A machine or a job: its version is the number that the code gives it. A version may grow steps; one that a run stands
-- at cannot go. The highest version is the current one, so that an old worker that starts late takes nothing back.
create or replace function pgflow.ensure_machine(shape jsonb, make_current boolean)
returns table (version_id int, version int, status text)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  slug constant text := shape ->> 'slug';
  number constant int := coalesce((shape ->> 'version')::int, 1);
  wanted_queue constant text := shape -> 'options' ->> 'queue';
  outcome text := 'verified';
  found_version int;
  is_current boolean;
begin
  if not exists (select from pgflow.flows f where f.flow_slug = slug) then
    insert into pgflow.flows (flow_slug, kind, created_at) values (slug, shape ->> 'kind', pgflow.now());
  end if;
  select v.version_id into found_version from pgflow.versions v where v.flow_slug = slug and v.version = number;
  if found_version is null then
    outcome := 'created';
    insert into pgflow.versions (flow_slug, version, queue, created_at) values (slug, number, wanted_queue, pgflow.now())
    returning version_id into found_version;
  elsif make_current then                    -- what waits in the queue of before is still served
    insert into pgflow.lanes (queue, version_id)
    select coalesce(v.queue, slug), v.version_id from pgflow.versions v
    where v.version_id = found_version and v.queue is distinct from wanted_queue
    on conflict do nothing;
    update pgflow.versions v set queue = wanted_queue
    where v.version_id = found_version and v.queue is distinct from wanted_queue;
  end if;
  is_current := number >= coalesce((
    select v.version from pgflow.flows f join pgflow.versions v on v.version_id = f.version_id where f.flow_slug = slug), 0);
  if is_current and (make_current or outcome = 'created') then
    update pgflow.flows f set version_id = found_version where f.flow_slug = slug and f.version_id is distinct from found_version;
    -- who only starts a run does not know of its app's archive, and takes none away
    perform pgflow.apply_flow_options(
      case when f.opt_archive and not make_current then jsonb_set(shape, '{options,archive}', 'true') else shape end)
    from pgflow.flows f where f.flow_slug = slug;
  end if;
  if make_current or outcome = 'created' then
    perform pgflow.ensure_machine_steps(shape, found_version);
    perform pgflow.apply_step_options(shape, found_version);
  end if;
  return query select found_version, number, outcome;
end
$$;

create or replace function pgflow.ensure_machine_steps(shape jsonb, version int) returns void
language plpgsql as $$
declare
  slug constant text := shape ->> 'slug';
  gone text;
begin
  delete from pgflow.steps s
  where s.version_id = version
    and not exists (select from jsonb_array_elements(shape -> 'steps') e where e ->> 'slug' = s.step_slug)
    and not exists (
      select from pgflow.step_tasks t where t.version_id = version and t.step_slug = s.step_slug and t.stage <> 'closed');
  select s.step_slug into gone from pgflow.steps s
  where s.version_id = version
    and not exists (select from jsonb_array_elements(shape -> 'steps') e where e ->> 'slug' = s.step_slug) limit 1;
  if found then
    perform pgflow.raise('PF409', format('runs of %s %L, version %s, stand at step %L, which this code does not have',
      shape ->> 'kind', slug, shape ->> 'version', gone), 'Keep the step, or give the changed class another version.');
  end if;
  update pgflow.steps s set step_index = -s.step_index - 1000 where s.version_id = version;
  insert into pgflow.steps as s (flow_slug, step_slug, version_id, step_index, is_initial, created_at)
  select slug, e.step ->> 'slug', version, e.index - 1, coalesce((e.step ->> 'initial')::boolean, false), pgflow.now()
  from jsonb_array_elements(shape -> 'steps') with ordinality e (step, index)
  on conflict (version_id, step_slug) do update set step_index = excluded.step_index, is_initial = excluded.is_initial;
end
$$;

-- The structural part of a shape: what `structure_of` says of a stored version.
create or replace function pgflow.structure_in(shape jsonb) returns jsonb
language sql immutable set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(jsonb_agg(jsonb_strip_nulls(s.step - 'options' - 'takesInput' - 'initial' - 'requiredInputPattern'
    - 'forbiddenInputPattern') || jsonb_build_object('requiredInputPattern', s.step -> 'requiredInputPattern',
      'forbiddenInputPattern', s.step -> 'forbiddenInputPattern') order by s.index), '[]')
  from jsonb_array_elements(shape -> 'steps') with ordinality as s (step, index);
end;

create or replace function pgflow.create_version(shape jsonb) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  slug constant text := shape ->> 'slug';
  known constant boolean := exists (select from pgflow.flows f where f.flow_slug = slug);
begin
  perform pgflow.create_flow(slug);
  if known then
    perform pgflow.add_version(slug);
  end if;
  perform pgflow.add_steps(slug, shape -> 'steps');
  update pgflow.versions v set queue = shape -> 'options' ->> 'queue'
  from pgflow.flows f where f.flow_slug = slug and v.version_id = f.version_id;
  return (select f.version_id from pgflow.flows f where f.flow_slug = slug);
end
$$;

-- Steps of a shape, with what pgflow knows of their options, in the flow's current version.
create or replace function pgflow.add_steps(slug text, steps jsonb) returns void
language plpgsql as $$
declare
  step jsonb;
begin
  for step in select value from jsonb_array_elements(steps) loop
    perform pgflow.add_step(
      slug, step ->> 'slug',
      deps_slugs => array(select jsonb_array_elements_text(step -> 'dependencies')),
      max_attempts => (step -> 'options' ->> 'maxAttempts')::int,
      base_delay => (step -> 'options' ->> 'baseDelay')::int,
      timeout => (step -> 'options' ->> 'timeout')::int,
      start_delay => (step -> 'options' ->> 'startDelay')::int,
      step_type => case when step ->> 'stepType' in ('signal', 'sleep') then 'single' else step ->> 'stepType' end,
      required_input_pattern => step -> 'requiredInputPattern' -> 'value',
      forbidden_input_pattern => step -> 'forbiddenInputPattern' -> 'value',
      when_unmet => coalesce(step ->> 'whenUnmet', 'skip'),
      when_exhausted => coalesce(step ->> 'whenExhausted', 'fail'));
  end loop;
  update pgflow.steps s set step_type = e ->> 'stepType', signal_name = e ->> 'signalName'
  from pgflow.flows f, jsonb_array_elements(steps) e
  where f.flow_slug = slug and s.version_id = f.version_id and s.step_slug = e ->> 'slug' and e ->> 'stepType' in ('signal', 'sleep');
end
$$;

-- Options follow the code when the code changed; a value tuned in the table stays until then.
create or replace function pgflow.apply_flow_options(shape jsonb) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  update pgflow.flows f
  set kind = coalesce(shape ->> 'kind', 'flow'),
      opt_max_attempts = coalesce((o.said ->> 'maxAttempts')::int, 3),
      opt_base_delay = coalesce((o.said ->> 'baseDelay')::int, 1),
      opt_timeout = coalesce((o.said ->> 'timeout')::int, 60),
      opt_max_delay = (o.said ->> 'maxDelay')::int,
      opt_jitter = coalesce((o.said ->> 'jitter')::real, 0),
      opt_backoff = coalesce(o.said ->> 'backoff', 'exponential'),
      opt_priority = coalesce((o.said ->> 'priority')::smallint, 0),
      opt_fairness_by = (
        select array_agg(p order by n) from jsonb_array_elements_text(
          case when jsonb_typeof(o.said -> 'fairnessBy') = 'array' then o.said -> 'fairnessBy' end) with ordinality e (p, n)),
      opt_max_crashes = coalesce((o.said ->> 'maxCrashes')::int, 3),
      opt_retention = (o.said ->> 'retention')::float8,
      opt_archive = coalesce((o.said ->> 'archive')::boolean, false),
      deployed_options = o.said
  from (select coalesce(shape -> 'options', '{}') as said) o
  where f.flow_slug = shape ->> 'slug' and f.deployed_options is distinct from o.said;

  delete from pgflow.limits l
  where l.kind = 'flow' and l.name = shape ->> 'slug' and shape -> 'options' ->> 'maxRunning' is null;
  insert into pgflow.limits as l (kind, name, capacity)
  select 'flow', shape ->> 'slug', (shape -> 'options' ->> 'maxRunning')::int
  where shape -> 'options' ->> 'maxRunning' is not null
  on conflict (kind, name) do update set capacity = excluded.capacity where l.capacity <> excluded.capacity;
end;

create or replace function pgflow.apply_step_options(shape jsonb, version int) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  update pgflow.steps s
  set takes_input = coalesce(s.takes_input, false) or (o.said ->> 'takesInput')::boolean,
      opt_max_attempts = (o.said ->> 'maxAttempts')::int,
      opt_base_delay = (o.said ->> 'baseDelay')::int,
      opt_timeout = (o.said ->> 'timeout')::int,
      opt_start_delay = (o.said ->> 'startDelay')::int,
      opt_max_delay = (o.said ->> 'maxDelay')::int,
      opt_jitter = (o.said ->> 'jitter')::real,
      opt_backoff = o.said ->> 'backoff',
      opt_priority = (o.said ->> 'priority')::smallint,
      opt_concurrency = o.said ->> 'concurrency',
      opt_concurrency_by = (
        select array_agg(p order by n) from jsonb_array_elements_text(
          case when jsonb_typeof(o.said -> 'concurrencyBy') = 'array' then o.said -> 'concurrencyBy' end) with ordinality e (p, n)),
      opt_rate = o.said ->> 'rate',
      opt_rate_by = (
        select array_agg(p order by n) from jsonb_array_elements_text(
          case when jsonb_typeof(o.said -> 'rateBy') = 'array' then o.said -> 'rateBy' end) with ordinality e (p, n)),
      opt_weight = (o.said ->> 'weight')::float8,
      opt_signal_timeout = (o.said ->> 'signalTimeout')::float8,
      deployed_options = o.said
  from (
    select step ->> 'slug' as slug,
      coalesce(step -> 'options', '{}') || jsonb_build_object('takesInput', step -> 'takesInput') as said
    from jsonb_array_elements(shape -> 'steps') step
  ) o
  where s.version_id = version and s.step_slug = o.slug and s.deployed_options is distinct from o.said;
end;

-- New code also serves older versions, and older code newer ones: once a handler of a step wants the flow's input, every
-- version of the step gets it.
create or replace function pgflow.want_input(shape jsonb) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  update pgflow.steps s set takes_input = true
  from jsonb_array_elements(shape -> 'steps') e
  where s.flow_slug = shape ->> 'slug' and s.step_slug = e ->> 'slug'
    and (e ->> 'takesInput')::boolean and s.takes_input is not true;
end;
