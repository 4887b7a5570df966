-- DEFINE: flows, steps and versions.

-- A flow by this name, with its first version. An existing flow comes back as it is.
create or replace function pgflow.create_flow(
  flow_slug text, max_attempts int default null, base_delay int default null, timeout int default null
) returns pgflow.flows
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  flow pgflow.flows;
begin
  insert into pgflow.flows as f (flow_slug, opt_max_attempts, opt_base_delay, opt_timeout, created_at)
  values (create_flow.flow_slug, coalesce(max_attempts, 3), coalesce(base_delay, 5), coalesce(timeout, 60), pgflow.now())
  on conflict (flow_slug) do update set flow_slug = f.flow_slug
  returning * into flow;
  if flow.version_id is null then
    perform pgflow.add_version(flow.flow_slug);
    perform pgflow.expose_flow(flow.flow_slug);
    select * into flow from pgflow.flows f where f.flow_slug = create_flow.flow_slug;
  end if;
  return flow;
end
$$;

-- One more version of a flow, without steps yet, and the one that a start by name gets from now on.
create or replace function pgflow.add_version(flow_slug text) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  added int;
begin
  insert into pgflow.versions (flow_slug, version, created_at)
  select add_version.flow_slug, coalesce(max(v.version), 0) + 1, pgflow.now()
  from pgflow.versions v where v.flow_slug = add_version.flow_slug
  returning version_id into added;
  update pgflow.flows f set version_id = added where f.flow_slug = add_version.flow_slug;
  return added;
end
$$;

-- The same steps in a version of its own, which is the flow's current one from now on.
create or replace function pgflow.copy_version(flow_slug text, version int) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  copied constant int := pgflow.add_version(copy_version.flow_slug);
begin
  update pgflow.versions v set queue = o.queue, can_fail_early = o.can_fail_early
  from pgflow.versions o where v.version_id = copied and o.version_id = copy_version.version;
  insert into pgflow.steps
  select (jsonb_populate_record(s, jsonb_build_object('version_id', copied))).*
  from pgflow.steps s where s.version_id = copy_version.version;
  insert into pgflow.deps
  select (jsonb_populate_record(d, jsonb_build_object('version_id', copied))).*
  from pgflow.deps d where d.version_id = copy_version.version;
  return copied;
end
$$;

-- A step of the flow's current version, with its edges. An existing step comes back as it is.
create or replace function pgflow.add_step(
  flow_slug text, step_slug text, deps_slugs text[] default '{}', max_attempts int default null,
  base_delay int default null, timeout int default null, start_delay int default null,
  step_type text default 'single', required_input_pattern jsonb default null,
  forbidden_input_pattern jsonb default null, when_unmet text default 'skip', when_exhausted text default 'fail'
) returns pgflow.steps
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  parents constant text[] := array(select distinct d from unnest(deps_slugs) d);
  current_version int;
  step pgflow.steps;
begin
  if step_type = 'map' and cardinality(parents) > 1 then
    raise exception 'Map step "%" can have at most one dependency, but % were provided: %',
      step_slug, cardinality(parents), array_to_string(deps_slugs, ', ');
  end if;
  -- the lock makes two add_steps of one flow take turns at the step index
  select f.version_id into current_version
  from pgflow.flows f where f.flow_slug = add_step.flow_slug for update;
  if exists (select from pgflow.runs r where r.flow_slug = add_step.flow_slug and r.version_id = current_version)
    and not exists (
      select from pgflow.steps s where s.version_id = current_version and s.step_slug = add_step.step_slug)
  then
    current_version := pgflow.copy_version(add_step.flow_slug, current_version);  -- its runs keep their shape
  end if;

  insert into pgflow.steps (
    flow_slug, version_id, step_slug, step_type, step_index, deps_count, opt_max_attempts, opt_base_delay,
    opt_timeout, opt_start_delay, required_input_pattern, forbidden_input_pattern, when_unmet, when_exhausted, created_at)
  select add_step.flow_slug, coalesce(current_version, 0), add_step.step_slug, coalesce(add_step.step_type, 'single'),
    (select coalesce(max(s.step_index) + 1, 0) from pgflow.steps s where s.version_id = current_version),
    cardinality(parents), max_attempts, base_delay, timeout, start_delay, add_step.required_input_pattern,
    add_step.forbidden_input_pattern, add_step.when_unmet, add_step.when_exhausted, pgflow.now()
  on conflict (version_id, step_slug) do nothing
  returning * into step;
  if not found then
    select * into step from pgflow.steps s
    where s.version_id = current_version and s.step_slug = add_step.step_slug;
    return step;
  end if;

  insert into pgflow.deps (flow_slug, version_id, dep_slug, step_slug, created_at)
  select add_step.flow_slug, current_version, p, add_step.step_slug, step.created_at from unnest(parents) p;
  update pgflow.versions v set can_fail_early = true
  where v.version_id = current_version
    and (step.step_type = 'map' and step.deps_count > 0 or step.when_unmet = 'fail');
  return step;
end
$$;

-- The shape of a version: what two versions of a flow differ in. Options are no part of it.
create or replace function pgflow.structure_of(version int) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(jsonb_agg(jsonb_build_object(
      'slug', s.step_slug,
      'stepType', s.step_type,
      'dependencies', coalesce((
        select jsonb_agg(d.dep_slug order by d.dep_slug collate "C")
        from pgflow.deps d where d.version_id = s.version_id and d.step_slug = s.step_slug), '[]'),
      'whenUnmet', s.when_unmet,
      'whenExhausted', s.when_exhausted,
      'requiredInputPattern', case when s.required_input_pattern is null then '{"defined": false}'::jsonb
        else jsonb_build_object('defined', true, 'value', s.required_input_pattern) end,
      'forbiddenInputPattern', case when s.forbidden_input_pattern is null then '{"defined": false}'::jsonb
        else jsonb_build_object('defined', true, 'value', s.forbidden_input_pattern) end
    ) || case when s.signal_name is null then '{}' else jsonb_build_object('signalName', s.signal_name) end order by s.step_index), '[]')
  from pgflow.steps s where s.version_id = version;
end;
