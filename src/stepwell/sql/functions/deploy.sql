-- DEPLOY: code says what its flow looks like, and learns which version that is.

-- The version of this shape; made when there is none. `make_current`: a start by name gets it from now on, and
-- what it says of the flow counts. A flow that is new here is current in any case.
create or replace function pgflow.ensure_flow(shape jsonb, make_current boolean default true)
returns table (version_id int, version int, status text)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  slug constant text := shape ->> 'slug';
  wanted constant jsonb := pgflow.structure_in(shape);
  current_version int;
  found_version int;
  outcome text := 'verified';
begin
  perform pg_advisory_xact_lock(1, hashtext(slug));
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

-- The structural part of a shape: what `structure_of` says of a stored version.
create or replace function pgflow.structure_in(shape jsonb) returns jsonb
language sql immutable set search_path = ''
begin atomic
  select coalesce(jsonb_agg(s.step - 'options' - 'takesInput' order by s.index), '[]')
  from jsonb_array_elements(shape -> 'steps') with ordinality as s (step, index);
end;

create or replace function pgflow.create_version(shape jsonb) returns int
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  slug constant text := shape ->> 'slug';
  known constant boolean := exists (select from pgflow.flows f where f.flow_slug = slug);
  step jsonb;
begin
  perform pgflow.create_flow(slug);
  if known then
    perform pgflow.add_version(slug);
  end if;
  for step in select value from jsonb_array_elements(shape -> 'steps') loop
    perform pgflow.add_step(
      slug, step ->> 'slug',
      deps_slugs => array(select jsonb_array_elements_text(step -> 'dependencies')),
      step_type => step ->> 'stepType',
      required_input_pattern => step -> 'requiredInputPattern' -> 'value',
      forbidden_input_pattern => step -> 'forbiddenInputPattern' -> 'value',
      when_unmet => step ->> 'whenUnmet',
      when_exhausted => step ->> 'whenExhausted');
  end loop;
  update pgflow.versions v set queue = shape -> 'options' ->> 'queue'
  from pgflow.flows f where f.flow_slug = slug and v.version_id = f.version_id;
  return (select f.version_id from pgflow.flows f where f.flow_slug = slug);
end
$$;

-- Options follow the code when the code changed; a value tuned in the table stays until then.
create or replace function pgflow.apply_flow_options(shape jsonb) returns void
language sql set search_path = ''
begin atomic
  update pgflow.flows f
  set kind = coalesce(shape ->> 'kind', 'flow'),
      opt_max_attempts = coalesce((o.said ->> 'maxAttempts')::int, 3),
      opt_base_delay = coalesce((o.said ->> 'baseDelay')::int, 1),
      opt_timeout = coalesce((o.said ->> 'timeout')::int, 60),
      opt_max_delay = (o.said ->> 'maxDelay')::int,
      opt_jitter = coalesce((o.said ->> 'jitter')::real, 0),
      opt_max_crashes = coalesce((o.said ->> 'maxCrashes')::int, 3),
      deployed_options = o.said
  from (select coalesce(shape -> 'options', '{}') as said) o
  where f.flow_slug = shape ->> 'slug' and f.deployed_options is distinct from o.said;
end;

create or replace function pgflow.apply_step_options(shape jsonb, version int) returns void
language sql set search_path = ''
begin atomic
  update pgflow.steps s
  set takes_input = coalesce(s.takes_input, false) or (o.said ->> 'takesInput')::boolean,
      opt_max_attempts = (o.said ->> 'maxAttempts')::int,
      opt_base_delay = (o.said ->> 'baseDelay')::int,
      opt_timeout = (o.said ->> 'timeout')::int,
      opt_start_delay = (o.said ->> 'startDelay')::int,
      opt_max_delay = (o.said ->> 'maxDelay')::int,
      opt_jitter = (o.said ->> 'jitter')::real,
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
language sql set search_path = ''
begin atomic
  update pgflow.steps s set takes_input = true
  from jsonb_array_elements(shape -> 'steps') e
  where s.flow_slug = shape ->> 'slug' and s.step_slug = e ->> 'slug'
    and (e ->> 'takesInput')::boolean and s.takes_input is not true;
end;
