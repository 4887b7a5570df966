-- SURFACE, runs: pgflow's functions for callers who may not read the tables. They run with the owner's rights, so everything
-- in them is named with its schema, and the search path is empty.

-- A run and its steps, in the order of the flow; null: there is no such run.
create or replace function pgflow.get_run_with_states(run_id uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select jsonb_build_object('run', to_jsonb(r), 'steps', coalesce((
      select jsonb_agg(to_jsonb(s) order by d.step_index, s.step_slug)
      from pgflow.step_states s
      left join pgflow.steps d on d.version_id = r.version_id and d.step_slug = s.step_slug
      where s.run_id = r.run_id), '[]'))
    from pgflow.runs r where r.run_id = get_run_with_states.run_id);
end
$$;

create or replace function pgflow.start_flow_with_states(flow_slug text, input jsonb, run_id uuid default null) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  started constant uuid := (
    select r.run_id from pgflow.start_flow(
      start_flow_with_states.flow_slug, start_flow_with_states.input, start_flow_with_states.run_id) r);
begin
  return pgflow.get_run_with_states(started);
end
$$;
