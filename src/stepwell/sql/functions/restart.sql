-- RESTART: a new run that repeats another one, from the beginning or from one of its steps. The other one stays as it
-- is. Locks: the run that is repeated; nobody else knows the new one yet.

-- Start a run of the same version with the same input, which knows what it repeats; it has no key. From a step of a
-- flow: what is neither that step nor after it, and has completed or was skipped, is taken over. From a step of a machine:
-- with the state that the run has now. The same new_run_id answers with the same run (created = false).
create or replace function pgflow.restart_run(
  run_id uuid, from_step text default null, new_run_id uuid default null, actor text default null
) returns table (id uuid, created boolean)
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  origin pgflow.runs;
begin
  perform pgflow.lock_run(restart_run.run_id);
  select * into origin from pgflow.runs r where r.run_id = restart_run.run_id;
  if from_step is not null and not exists (
    select from pgflow.steps s where s.version_id = origin.version_id and s.step_slug = from_step)
  then
    perform pgflow.raise('PF404', format('run %s has no step %L', origin.run_id, from_step));
  end if;
  id := coalesce(new_run_id, pgflow.new_run_id());
  created := not exists (select from pgflow.runs r where r.run_id = id);
  if not created and not exists (select from pgflow.runs r where r.run_id = id and r.origin_run_id = origin.run_id) then
    perform pgflow.raise('PF409', format('the run id %s is taken', id));
  end if;
  if created and origin.kind = 'flow' and from_step is not null then
    perform pgflow.repeat_flow(origin, from_step, id, at);
  elsif created then
    perform pgflow.repeat_run(origin, from_step, id);
  end if;
  if created then
    update pgflow.runs r set origin_run_id = origin.run_id, origin_step = from_step where r.run_id = id;
    perform pgflow.write_audit(at, actor, 'restart', 'run', origin.run_id::text, origin.run_id,
      jsonb_build_object('new_run_id', id, 'from_step', from_step));
  end if;
  return next;
end
$$;

-- From the beginning; a machine from any step, with its present state. What was said at the start is said again, as far as
-- the run shows it; what its steps declare is declared anew.
create or replace function pgflow.repeat_run(origin pgflow.runs, from_step text, id uuid) returns void
language plpgsql as $$
declare
  options jsonb := jsonb_build_object(
    'priority', origin.priority, 'fairness', origin.fairness_key, 'fairness_weight', origin.fairness_weight,
    'tags', origin.tags);
  present constant boolean := origin.kind = 'machine' and from_step is not null;
begin
  if origin.kind <> 'flow' then
    select options || jsonb_build_object('queue', t.queue, 'step', case when present then from_step end,
      'concurrency', case when s.opt_concurrency is null or origin.kind = 'job' then t.concurrency_key end,
      'rate', case when origin.kind = 'job' then t.rate_limit end, 'weight', case when origin.kind = 'job' then t.weight end)
    into options
    from pgflow.step_tasks t join pgflow.steps s on s.version_id = t.version_id
    where t.run_id = origin.run_id and case when present then s.step_slug = from_step else s.is_initial end;
  end if;
  perform from pgflow.start_runs(origin.flow_slug, array[case when present then origin.state else origin.input end],
    run_ids => array[id], version_id => origin.version_id, options => array[jsonb_strip_nulls(options)
    || jsonb_build_object('metadata', coalesce(origin.metadata, '{}'))]);
  if present then
    update pgflow.runs r set input = origin.input where r.run_id = id;
  end if;
end
$$;

-- A flow from one of its steps: the rows of what is taken over are copied, and the flow goes on from there.
create or replace function pgflow.repeat_flow(origin pgflow.runs, from_step text, id uuid, at timestamptz) returns void
language plpgsql as $$
declare
  held constant boolean := pgflow.hold_flow(origin.flow_slug);
  kept record;
  roots pgflow.step_ref[];
begin
  kept := pgflow.steps_to_keep(origin, from_step);
  insert into pgflow.runs (
    run_id, flow_slug, version_id, kind, input, started_at, priority, fairness_key, fairness_weight, tags, metadata, remaining_steps)
  select id, origin.flow_slug, origin.version_id, origin.kind, origin.input, at, origin.priority, origin.fairness_key,
    origin.fairness_weight, origin.tags, origin.metadata, count(*)
  from pgflow.steps s where s.version_id = origin.version_id;

  insert into pgflow.step_states
  select c.* from pgflow.step_states s
  join pgflow.steps d on d.version_id = origin.version_id and d.step_slug = s.step_slug
  cross join lateral jsonb_populate_record(s, jsonb_build_object('run_id', id, 'remaining_deps', d.deps_count)) c
  where s.run_id = origin.run_id and s.step_slug = any (kept.passed || kept.cut);
  insert into pgflow.step_tasks
  select c.* from pgflow.step_tasks t
  join pgflow.step_states s on s.run_id = t.run_id and s.step_slug = t.step_slug and s.status = 'completed'
  cross join lateral jsonb_populate_record(t, jsonb_build_object('run_id', id, 'join_id', null,
    'message_id', nextval(pg_get_serial_sequence('pgflow.step_tasks', 'message_id')))) c
  where t.run_id = origin.run_id and t.step_slug = any (kept.passed);
  insert into pgflow.step_states (flow_slug, run_id, step_slug, remaining_deps, initial_tasks, created_at)
  select s.flow_slug, id, s.step_slug, s.deps_count,
    case when s.step_type <> 'map' then 1 when s.deps_count = 0 then jsonb_array_length(r.input) end, at
  from pgflow.runs r join pgflow.steps s on s.version_id = r.version_id and s.step_slug <> all (kept.passed || kept.cut)
  where r.run_id = id;

  if pgflow.somebody_listens() then perform pgflow.tell_present(id, 'completed', 'skipped'); end if;
  roots := array(
    select (id, s.version_id, s.step_slug)::pgflow.step_ref from pgflow.steps s
    where s.version_id = origin.version_id and s.deps_count = 0 and s.step_slug <> all (kept.passed || kept.cut));
  perform pgflow.advance_flows(roots,
    array(select (id, origin.version_id, p)::pgflow.step_ref from unnest(kept.passed) p),
    array(select (id, origin.version_id, c)::pgflow.step_ref from unnest(kept.cut) c), at, null, '{}', '{}', 0);
  perform pgflow.share_queues(array[id]);
end
$$;

-- What a restart takes over: `passed` lets what follows go on, `cut` was skipped with all that follows.
create or replace function pgflow.steps_to_keep(
  origin pgflow.runs, from_step text, out passed text[], out cut text[]
) language plpgsql as $$
declare
  again constant text[] := from_step || pgflow.steps_below(origin.version_id, array[from_step]);
  missing text;
begin
  cut := array(
    select s.step_slug
    from pgflow.step_states s join pgflow.steps d on d.version_id = origin.version_id and d.step_slug = s.step_slug
    where s.run_id = origin.run_id and s.step_slug <> all (again) and s.status = 'skipped' and 'skip' <> case s.skip_reason
      when 'condition_unmet' then d.when_unmet when 'handler_failed' then d.when_exhausted else 'skip-cascade' end);
  cut := array(select c from unnest(cut) c union select b from unnest(pgflow.steps_below(origin.version_id, cut)) b);
  if from_step = any (cut) then
    perform pgflow.raise('PF409', format('step %L of run %s was skipped together with a step before it', from_step, origin.run_id),
      'Restart from that one.');
  end if;
  passed := array(
    select s.step_slug from pgflow.step_states s
    where s.run_id = origin.run_id and s.step_slug <> all (again || cut) and s.status in ('completed', 'skipped'));
  select d.dep_slug into missing from pgflow.deps d
  where d.version_id = origin.version_id and d.step_slug = from_step and d.dep_slug <> all (passed)
  order by d.dep_slug collate "C" limit 1;
  if found then
    perform pgflow.raise('PF409', format('step %L waits for step %L, which has not completed in run %s',
      from_step, missing, origin.run_id), 'Restart from that one, or from the beginning.');
  end if;
end
$$;

-- All that follows these steps.
create or replace function pgflow.steps_below(version int, steps text[]) returns text[]
language sql stable as $$
  with recursive below as (
    select d.step_slug from pgflow.deps d where d.version_id = version and d.dep_slug = any (steps)
    union
    select d.step_slug from below b join pgflow.deps d on d.version_id = version and d.dep_slug = b.step_slug
  )
  select array(select b.step_slug from below b);
$$;
