-- RELEASE: claims that come back without an outcome.

-- Give claims back unharmed: the attempt does not count. For a worker that leaves before a body ended.
-- Locks: runs by id, then tasks, as a commit and a cancel do, which may want the same tasks in another order.
create or replace function pgflow.release_tasks(message_ids bigint[], tokens bigint[]) returns int
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  at constant timestamptz := pgflow.now();
  released int;
begin
  perform pgflow.lock_runs_of(message_ids);
  update pgflow.step_tasks t
  set stage = 'ready', status = 'queued', claim_token = null, attempts_count = t.attempts_count - 1,
      started_at = null, ready_at = least(t.ready_at, at)
  from unnest(message_ids, tokens) e (id, token)
  where t.message_id = any (array[e.id]) and t.claim_token = e.token;
  get diagnostics released = row_count;
  perform pgflow.free_slots(tokens);
  return released;
end
$$;

-- The same for claims that a worker holds but never heard of: the answer to its claim was lost on the way.
create or replace function pgflow.release_held(worker uuid, tokens bigint[]) returns int
language sql set jit = off set enable_seqscan = off as $$
  select pgflow.release_tasks(array_agg(t.message_id), array_agg(t.claim_token))
  from pgflow.step_tasks t where t.last_worker_id = worker and t.stage = 'running' and t.claim_token = any (tokens);
$$;

-- Slots that a worker has without knowing of their claims, which were taken away before it heard of them.
create or replace function pgflow.free_strays(worker uuid, known bigint[]) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  strays constant bigint[] := array(
    select s.claim_token from pgflow.slots s where s.worker_id = worker and s.claim_token <> all (known));
begin
  perform pgflow.free_slots(strays);
  return cardinality(strays);
end
$$;

-- When a claim fails: end those of its tasks that nobody can be told of (inputs beyond what Postgres can put together),
-- so that they stand in nobody's way. Locks: tasks, then their runs; it is rare, and a deadlock means once more.
create or replace function pgflow.refuse_tasks(worker uuid, lane_queues text[], lane_versions int[], want int)
returns int
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
  refused int := 0;
  id bigint;
  reason text;
begin
  foreach id in array (pgflow.pick_tasks(lane_queues, lane_versions, want)).ids loop
    reason := null;
    begin
      perform d.input, d.flow_input from pgflow.describe_tasks(array[id]) d;
    exception when program_limit_exceeded or out_of_memory or data_exception then
      reason := sqlerrm;
    end;
    if reason is not null then
      perform pgflow.take_tasks(worker, array[id], null, pgflow.now());
      perform pgflow.write_outcomes(
        worker, array[id], array(select t.claim_token from pgflow.step_tasks t where t.message_id = id),
        array['failed_permanently'], array[null::jsonb], array['InputRefused'],
        array['Postgres cannot put the input of this task together: ' || reason], array[null::text], '{}', '{}', 0);
      refused := refused + 1;
    end if;
  end loop;
  return refused;
end
$$;
