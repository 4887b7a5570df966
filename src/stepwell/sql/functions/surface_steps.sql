-- SURFACE, steps: pgflow's passes over one run, for who calls them by name. Ours are plan_flow.sql and plan_skip.sql, which
-- move any number of runs at once and need none of these. A pass leaves the run as pgflow's does: what it resolves is counted
-- off, but only maybe_complete_run completes the run. Locks: the run, then its tasks, then its step_states.

-- Start the steps that wait for nothing and have tasks. It asks no conditions, and leaves empty maps alone.
create or replace function pgflow.start_ready_steps(run_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  run constant pgflow.runs := pgflow.hold_run(start_ready_steps.run_id);
  ready constant pgflow.step_ref[] := array(
    select (s.run_id, run.version_id, s.step_slug)::pgflow.step_ref
    from pgflow.step_states s
    where s.run_id = run.run_id and s.status = 'created' and s.remaining_deps = 0 and s.initial_tasks > 0
    order by s.step_slug);
begin
  if run.status = 'started' and ready <> '{}' then
    perform pgflow.start_steps(ready, pgflow.now(), null, '{}', '{}', 0);
  end if;
end
$$;

-- Complete the steps that wait for nothing and are empty, and what that makes ready and empty in turn; answers with how many.
create or replace function pgflow.cascade_complete_taskless_steps(run_id uuid) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  run constant pgflow.runs := pgflow.hold_run(cascade_complete_taskless_steps.run_id);
  at constant timestamptz := pgflow.now();
  empty pgflow.step_ref[];
  completed int := 0;
begin
  loop
    empty := array(
      select (s.run_id, run.version_id, s.step_slug)::pgflow.step_ref
      from pgflow.step_states s
      join pgflow.steps d on d.version_id = run.version_id and d.step_slug = s.step_slug
      where s.run_id = run.run_id and s.status = 'created' and s.remaining_deps = 0 and s.initial_tasks = 0
      order by d.step_index);
    exit when empty = '{}';
    perform pgflow.complete_empty(empty, at);
    if pgflow.somebody_listens() then perform pgflow.tell_steps('empty', empty); end if;
    perform pgflow.release_children(empty);
    perform pgflow.count_off(run.run_id, cardinality(empty));
    completed := completed + cardinality(empty);
  end loop;
  return completed;
end
$$;

-- Ask the conditions of the steps that wait for nothing, and of those that a skip lets go on; what is met stays as it is.
-- False: the run has failed, by a condition or before, or it was cancelled.
create or replace function pgflow.cascade_resolve_conditions(run_id uuid) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  run constant pgflow.runs := pgflow.hold_run(cascade_resolve_conditions.run_id);
  at constant timestamptz := pgflow.now();
  unmet pgflow.step_ref[];
  wave record;
begin
  if run.status is distinct from 'started' then
    return coalesce(run.status = 'completed', true);
  end if;
  loop
    unmet := array(
      select j.ref::pgflow.step_ref
      from pgflow.judge_ready(array(
        select (s.run_id, run.version_id, s.step_slug)::pgflow.step_ref
        from pgflow.step_states s where s.run_id = run.run_id and s.status = 'created' and s.remaining_deps = 0)) j
      where j.verdict in ('fail', 'skip', 'skip-cascade')
      order by j.step_index);
    exit when unmet = '{}';
    wave := pgflow.resolve_wave(unmet, at);
    perform pgflow.release_children(wave.passed);
    perform pgflow.count_off(run.run_id, cardinality(wave.passed || wave.below));
    if (select r.status from pgflow.runs r where r.run_id = run.run_id) = 'failed' then
      perform pgflow.after_ends(array[run.run_id], at);
      return false;
    end if;
  end loop;
  return true;
end
$$;

-- Skip a step and all that follows it, as far as it has not ended, whatever else it waits for; answers with how many.
create or replace function pgflow._cascade_force_skip_steps(run_id uuid, step_slug text, skip_reason text) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  run constant pgflow.runs := pgflow.hold_run(_cascade_force_skip_steps.run_id);
  at constant timestamptz := pgflow.now();
  root constant pgflow.step_ref := (run.run_id, run.version_id, _cascade_force_skip_steps.step_slug)::pgflow.step_ref;
  skipped pgflow.step_ref[];
begin
  if run.run_id is null then
    raise exception 'Run not found: %', _cascade_force_skip_steps.run_id;
  end if;
  skipped := array(
    select root from pgflow.step_states s
    where s.run_id = run.run_id and s.step_slug = _cascade_force_skip_steps.step_slug and s.status in ('created', 'started'));
  perform pgflow.skip_steps(skipped, _cascade_force_skip_steps.skip_reason, at);
  skipped := skipped || pgflow.skip_below(array[root], at);
  if pgflow.somebody_listens() then perform pgflow.tell_steps('skipped', skipped); end if;
  perform pgflow.close_steps(skipped);
  perform pgflow.count_off(run.run_id, cardinality(skipped));
  return cardinality(skipped);
end
$$;

-- A live run with no step left is complete.
create or replace function pgflow.maybe_complete_run(run_id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  run constant pgflow.runs := pgflow.hold_run(maybe_complete_run.run_id);
  at constant timestamptz := pgflow.now();
begin
  if run.status = 'started' and run.kind = 'flow' and run.remaining_steps = 0 then
    perform pgflow.settle_runs(array[(run.run_id, run.version_id, null)::pgflow.step_ref], at);
    perform pgflow.after_ends(array[run.run_id], at);
  end if;
end
$$;

-- A task is its own message, which is in the archive once the task has ended. The message of one that has not ended cannot be
-- taken from it.
create or replace function pgflow._archive_task_message(p_run_id uuid, p_step_slug text, p_task_index int) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if exists (
    select from pgflow.step_tasks t
    where t.run_id = p_run_id and t.step_slug = p_step_slug and t.task_index = p_task_index and t.stage <> 'closed')
  then
    raise notice 'task % of step % of run % has not ended: its message is archived when it does',
      p_task_index, p_step_slug, p_run_id;
  end if;
end
$$;

create or replace function pgflow.hold_run(id uuid) returns pgflow.runs
language plpgsql as $$
declare
  run pgflow.runs;
begin
  select * into run from pgflow.runs r where r.run_id = id for no key update;
  return run;
end
$$;

create or replace function pgflow.count_off(run uuid, steps int) returns void
language sql as $$
  update pgflow.runs r set remaining_steps = r.remaining_steps - steps where r.run_id = run;
$$;
