-- SURFACE, shapes: pgflow's way to say what a flow looks like, and to compare it with what is deployed. It knows the current
-- version only, and one that differs is replaced with all its runs, where the caller allows it by name. Python's way, which
-- keeps versions beside each other, is deploy.sql. Locks: the flow's name; then as delete_flow_and_data.

-- Whether this is a development database of Supabase, whose secret everybody knows.
create or replace function pgflow.is_local() returns boolean
language sql stable parallel safe set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(
    current_setting('app.settings.jwt_secret', true) = 'super-secret-jwt-token-with-at-least-32-characters-long', false);
end;

create or replace function pgflow._get_flow_shape(p_flow_slug text) returns jsonb
language sql stable set search_path = pg_catalog, pg_temp
begin atomic
  select jsonb_build_object('steps', pgflow.structure_of(
    (select f.version_id from pgflow.flows f where f.flow_slug = p_flow_slug)));
end;

-- What differs, as texts; an empty array: nothing. Steps are compared by their place. A key that one side does not have is no
-- difference; a pattern that is not there is one that is not defined.
create or replace function pgflow._compare_flow_shapes(p_local jsonb, p_db jsonb) returns text[]
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  ours constant jsonb := coalesce(p_local -> 'steps', '[]');
  theirs constant jsonb := coalesce(p_db -> 'steps', '[]');
  counts constant int[] := array[jsonb_array_length(ours), jsonb_array_length(theirs)];
begin
  return case when counts[1] <> counts[2] then array[format('Step count differs: %s vs %s', counts[1], counts[2])] else '{}' end
    || array(
    select format('Step at index %s: %s', i, d.difference)
    from generate_series(0, greatest(counts[1], counts[2]) - 1) i
    cross join lateral pgflow.step_differences(ours -> i, theirs -> i) with ordinality d (difference, place)
    order by i, d.place);
end
$$;

create or replace function pgflow.step_differences(ours jsonb, theirs jsonb) returns setof text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  undefined constant jsonb := '{"defined": false}';
  parents constant text[] := array[pgflow.names_in(ours -> 'dependencies'), pgflow.names_in(theirs -> 'dependencies')];
  key text;
begin
  if ours is null then
    return next format('missing in first shape (second has ''%s'')', theirs ->> 'slug');
    return;
  elsif theirs is null then
    return next format('missing in second shape (first has ''%s'')', ours ->> 'slug');
    return;
  end if;
  foreach key in array array['slug', 'stepType', 'dependencies', 'whenUnmet', 'whenExhausted', 'signalName'] loop
    if key = 'dependencies' and parents[1] <> parents[2] then
      return next format('dependencies differ [%s] vs [%s]', parents[1], parents[2]);
    elsif key <> 'dependencies' and ours ->> key <> theirs ->> key then
      return next format('%s differs ''%s'' vs ''%s''', case key when 'stepType' then 'type' else key end, ours ->> key, theirs ->> key);
    end if;
  end loop;
  foreach key in array array['requiredInputPattern', 'forbiddenInputPattern'] loop
    if coalesce(ours -> key, undefined) <> coalesce(theirs -> key, undefined) then
      return next format('%s differs ''%s'' vs ''%s''', key, ours -> key, theirs -> key);
    end if;
  end loop;
end
$$;

create or replace function pgflow.names_in(list jsonb) returns text
language sql immutable set search_path = pg_catalog, pg_temp
begin atomic
  select coalesce(string_agg(n, ', ' order by n collate "C"), '') from jsonb_array_elements_text(list) n;
end;

create or replace function pgflow._create_flow_from_shape(p_flow_slug text, p_shape jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  perform pgflow.create_flow(p_flow_slug, (p_shape -> 'options' ->> 'maxAttempts')::int,
    (p_shape -> 'options' ->> 'baseDelay')::int, (p_shape -> 'options' ->> 'timeout')::int);
  perform pgflow.add_steps(p_flow_slug, p_shape -> 'steps');
end
$$;

-- A flow of this shape: `compiled` when there was none by this name, `verified` when it is the same; where it differs,
-- `recompiled` if data may be lost (always in a local database), else `mismatch`, and nothing is changed.
create or replace function pgflow.ensure_flow_compiled(flow_slug text, shape jsonb, allow_data_loss boolean default false)
returns jsonb
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  slug constant text := ensure_flow_compiled.flow_slug;
  status text := 'compiled';
  differences text[] := '{}';
begin
  perform pg_advisory_xact_lock(1, hashtext(slug));
  perform pgflow.check_kind(slug, 'flow');
  if exists (select from pgflow.flows f where f.flow_slug = slug) then
    differences := pgflow._compare_flow_shapes(shape, pgflow._get_flow_shape(slug));
    status := case when differences = '{}' then 'verified' when pgflow.is_local() or allow_data_loss then 'recompiled'
      else 'mismatch' end;
  end if;
  if status = 'recompiled' then
    perform pgflow.delete_flow_and_data(slug);
  end if;
  if status in ('compiled', 'recompiled') then
    perform pgflow._create_flow_from_shape(slug, shape);
  end if;
  return jsonb_build_object('status', status, 'differences', to_jsonb(differences));
end
$$;
