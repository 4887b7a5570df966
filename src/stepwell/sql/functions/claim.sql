-- CLAIM: lease ready tasks to one worker. Never blocks on a task: a row that another transaction holds is left alone.
-- Locks: tasks, then what limits they have (limit.sql).

-- Up to `want` tasks of the lanes that the worker serves, in order of priority, due time and age.
-- A lane is a queue and a version; lane_queues and lane_versions are parallel arrays.
create or replace function pgflow.claim_tasks(worker uuid, lane_queues text[], lane_versions int[], want int)
returns setof pgflow.claimed_task
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  -- a statement of its own: the one that describes must see what this one wrote
  taken constant record := pgflow.take_on(worker, lane_queues, lane_versions, want, pgflow.now());
begin
  return query select * from pgflow.describe_tasks(taken.ids);
end
$$;

-- Pick, admit, take; where limits turned tasks away, look behind them. `contended`: there may be more in a moment.
create or replace function pgflow.take_on(
  worker uuid, lane_queues text[], lane_versions int[], want int, at timestamptz,
  out ids bigint[], out contended boolean, out delayed boolean
) language plpgsql as $$
declare
  window_size int := want;
  picked record;
  admitted record;
  taken bigint[];
  moved int;
  held text[];
begin
  ids := '{}';
  contended := false;
  delayed := false;
  for n in 1 .. 8 loop
    picked := pgflow.pick_tasks(lane_queues, lane_versions, window_size);
    contended := coalesce(picked.shared, false);
    exit when picked.ids = '{}';
    if picked.limited or cardinality(picked.ids) > want - cardinality(ids) then
      admitted := pgflow.admit_tasks(worker, picked.ids, want - cardinality(ids), at, held);
      held := admitted.held;
      contended := contended or admitted.contended;
      delayed := delayed or admitted.delayed;
      taken := pgflow.take_tasks(worker, admitted.ids, admitted.tokens, at);
      moved := admitted.moved + pgflow.put_aside(admitted.ids, taken, admitted.tokens);
    else
      taken := pgflow.take_tasks(worker, picked.ids, null, at);
      moved := pgflow.put_aside(picked.ids, taken, '{}');
    end if;
    ids := ids || taken;
    if picked.shared then
      perform pgflow.charge_shares(taken);
    end if;
    exit when cardinality(ids) >= want or moved = 0 and (n > 1 or cardinality(picked.ids) < window_size);
    window_size := 500;                      -- what was in the way is out of it, or we look behind it
    contended := true;
  end loop;
end
$$;

-- Hand locked tasks to a worker: an attempt begins, under a token that no other claim will ever have.
-- A task of a paused run is not taken.
create or replace function pgflow.take_tasks(worker uuid, ids bigint[], tokens bigint[], at timestamptz) returns bigint[]
language plpgsql as $$
declare
  result bigint[];
begin
  with taken as (
    update pgflow.step_tasks t
    set stage = 'running', status = 'started', claim_token = coalesce(i.token, nextval('pgflow.claim_tokens')),
        attempts_count = t.attempts_count + 1, started_at = greatest(at, t.queued_at), last_worker_id = worker,
        waiting = false, promised = false
    from unnest(ids, tokens) i (id, token)
    where t.message_id = any (array[i.id]) and t.stage || '' in ('ready', 'delayed')
      -- as a value and not as a join, which the planner could begin at the run and walk all its tasks
      and (select r.paused_at from pgflow.runs r where r.run_id = t.run_id) is null
    returning t.message_id
  )
  select coalesce(array_agg(message_id), '{}') into result from taken;
  return result;
end
$$;

-- Of the tasks that were picked, those that were not taken belong to paused runs: out of the way with them.
-- Locks: their runs, without waiting, so that a run that is being resumed is left alone.
create or replace function pgflow.put_aside(picked bigint[], taken bigint[], tokens bigint[]) returns int
language plpgsql as $$
declare
  paused bigint[];
  gates text[];
begin
  if cardinality(picked) = cardinality(taken) then
    return 0;
  end if;
  delete from pgflow.slots s where s.claim_token = any (tokens) and s.message_id <> all (taken);
  select array_agg(p.message_id), array_remove(array_agg(p.concurrency_key), null) into paused, gates
  from (
    select t.message_id, t.concurrency_key
    from unnest(picked) i
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = i and t.stage = 'ready' offset 0) t
    cross join lateral (
      select from pgflow.runs r where r.run_id = t.run_id and r.paused_at is not null for share skip locked) r
    where i <> all (taken)) p;
  update pgflow.step_tasks t set stage = 'paused' where t.message_id = any (paused);
  perform pgflow.wake_gates(gates);
  return coalesce(cardinality(paused), 0);
end
$$;

-- What a worker must know to run these tasks. The flow's input comes once per run of a batch (on the row
-- with the lowest id), and only where a handler wants it.
create or replace function pgflow.describe_tasks(ids bigint[]) returns setof pgflow.claimed_task
language sql stable as $$
  select t.message_id, t.claim_token, t.run_id, t.flow_slug, t.version_id, t.step_slug, t.task_index,
    t.attempts_count, coalesce(s.opt_max_attempts, f.opt_max_attempts), coalesce(s.opt_timeout, f.opt_timeout),
    t.started_at,
    case when f.kind = 'machine' then (select r.state::text from pgflow.runs r where r.run_id = t.run_id)
      when f.kind = 'job' then (select r.input::text from pgflow.runs r where r.run_id = t.run_id)
      when s.step_type = 'map' then t.input::text
      when s.deps_count > 0 then (            -- as outputs_for, but as text: no call per row, and no jsonb made of jsonb
        select '{' || coalesce(string_agg(to_json(o.dep_slug)::text || ': ' || coalesce(o.output::text, 'null'), ', '), '') || '}'
        from (
          select d.dep_slug, o.output
          from pgflow.deps d
          join pgflow.step_states o on o.run_id = t.run_id and o.step_slug = d.dep_slug and o.status = 'completed'
          where d.version_id = t.version_id and d.step_slug = t.step_slug
          order by octet_length(d.dep_slug), d.dep_slug collate "C" offset 0) o) end,
    case when f.kind = 'flow' and coalesce(s.takes_input, s.deps_count = 0 and s.step_type = 'single')
      and t.message_id = min(t.message_id) filter (
        where coalesce(s.takes_input, s.deps_count = 0 and s.step_type = 'single')) over (partition by t.run_id)
      then (select r.input::text from pgflow.runs r where r.run_id = t.run_id) end,
    f.kind, case when f.kind <> 'flow' then (select r.key from pgflow.runs r where r.run_id = t.run_id) end,
    t.requeued_count,
    case when t.awaits is not null then pgflow.handed_signals(t.run_id, t.awaits, case when f.kind = 'flow' then
      coalesce(t.seen, '{}') end)::text end,
    case when t.join_id is not null then (
      select json_build_object('total', j.total, 'pending', j.pending, 'completed', j.completed, 'failed', j.failed,
        'policy', j.policy)::text
      from pgflow.joins j where j.join_id = t.join_id) end,
    v.version
  from unnest(ids) i
  cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
  left join pgflow.steps s on s.version_id = any (array[t.version_id]) and s.step_slug = t.step_slug
  join pgflow.versions v on v.version_id = any (array[t.version_id])
  join pgflow.flows f on f.flow_slug = any (array[t.flow_slug])
  order by t.priority, t.ready_at, t.message_id;
$$;

-- The outputs that a step of a run depends on, by step. A skipped dependency is absent; a null output is null.
create or replace function pgflow.outputs_for(run uuid, version int, step text) returns jsonb
language sql stable as $$
  select coalesce(jsonb_object_agg(d.dep_slug, coalesce(s.output, 'null')), '{}')
  from pgflow.deps d
  join pgflow.step_states s on s.run_id = run and s.step_slug = d.dep_slug and s.status = 'completed'
  where d.version_id = version and d.step_slug = step;
$$;

-- Tasks in the hands of a worker that nobody knows would be taken back at once.
create or replace function pgflow.check_worker(id uuid) returns boolean
language plpgsql stable as $$
begin
  if id is not null and not exists (select from pgflow.workers w where w.worker_id = id) then
    raise foreign_key_violation using constraint = 'step_tasks_last_worker_id_fkey', table = 'step_tasks', schema = 'pgflow',
      message = 'insert or update on table "step_tasks" violates foreign key constraint "step_tasks_last_worker_id_fkey"',
      detail = format('Key (last_worker_id)=(%s) is not present in table "workers".', id),
      hint = 'Insert the worker into pgflow.workers first.';
  end if;
  return true;
end
$$;

-- pgflow's claim: of these messages, those that are still to be had. Nothing of a queue or a flow that is paused.
create or replace function pgflow.start_tasks(flow_slug text, msg_ids bigint[], worker_id uuid)
returns setof pgflow.step_task_record
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  known constant boolean := pgflow.check_worker(start_tasks.worker_id);
  at constant timestamptz := pgflow.now();
  startable record := pgflow.startable_tasks(start_tasks.flow_slug, msg_ids);
  tokens bigint[];
  taken bigint[];
begin
  if startable.limited then
    select a.ids, a.tokens into startable.ids, tokens
    from pgflow.admit_tasks(start_tasks.worker_id, startable.ids, cardinality(startable.ids), at, null) a;
  end if;
  taken := pgflow.take_tasks(start_tasks.worker_id, startable.ids, tokens, at);
  perform pgflow.put_aside(startable.ids, taken, coalesce(tokens, '{}'));
  return query
  select t.flow_slug, t.run_id, t.step_slug,
    case when s.step_type = 'map' then t.input when s.deps_count = 0 then '{}' else (   -- as describe_tasks
      select coalesce(jsonb_object_agg(d.dep_slug, coalesce(o.output, 'null')), '{}')
      from pgflow.deps d
      join pgflow.step_states o on o.run_id = t.run_id and o.step_slug = d.dep_slug and o.status = 'completed'
      where d.version_id = t.version_id and d.step_slug = t.step_slug) end,
    t.message_id, t.task_index,
    case when s.step_type = 'single' and s.deps_count = 0 then (select r.input from pgflow.runs r where r.run_id = t.run_id) end
  from unnest(taken) i
  cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
  join pgflow.steps s on s.version_id = any (array[t.version_id]) and s.step_slug = t.step_slug;
end
$$;

-- Of these messages of a flow, those that nobody has in hand, locked. `limited`: some have limits to be asked about.
create or replace function pgflow.startable_tasks(slug text, msg_ids bigint[], out ids bigint[], out limited boolean)
language plpgsql as $$
begin
  select coalesce(array_agg(t.message_id), '{}'), coalesce(bool_or(t.limited), false)
    or exists (select from pgflow.limits l where l.kind = any (array['flow', 'queue']))
  into ids, limited
  from (select distinct m as id from unnest(msg_ids) m order by 1) i
  cross join lateral (
    select t.message_id, num_nonnulls(t.concurrency_key, t.rate_limit) > 0 as limited from pgflow.step_tasks t
    where t.message_id = i.id and t.flow_slug = slug and t.stage || '' in ('ready', 'delayed') and not t.waiting
      and not exists (
        select from pgflow.pauses p where (p.kind = 'queue' and p.name = t.queue) or (p.kind = 'flow' and p.name = t.flow_slug))
      and exists (select from pgflow.flows f where f.flow_slug = t.flow_slug and f.kind = 'flow')
    for update of t skip locked) t;
end
$$;
