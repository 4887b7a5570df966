-- STEER: what a person does to a run. Locks: the run, then its tasks, then its step_states.

-- End a live run now. Its running bodies are told at their worker's next heartbeat; what they return is dropped.
-- False: the run had ended already.
create or replace function pgflow.cancel_run(run_id uuid, reason text default null) returns boolean
language plpgsql set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
declare
  was constant text := pgflow.lock_run(cancel_run.run_id);
begin
  if was <> 'started' then
    return false;
  end if;
  update pgflow.runs r
  set status = 'cancelled', cancelled_at = greatest(pgflow.now(), r.started_at), error_message = coalesce(reason, 'cancelled')
  where r.run_id = cancel_run.run_id;
  perform pgflow.close_runs(array[cancel_run.run_id]);
  return true;
end
$$;

-- Let a failed or cancelled run go on from where it ended: what completed stays, what failed gets all its attempts
-- again. False: the run is live or complete.
create or replace function pgflow.retry_run(run_id uuid) returns boolean
language plpgsql set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  was constant text := pgflow.lock_run(retry_run.run_id);
  ready pgflow.step_ref[];
begin
  if was not in ('failed', 'cancelled') then
    return false;
  end if;
  update pgflow.runs r
  set status = 'started', failed_at = null, cancelled_at = null, error_message = null, failed_step = null
  where r.run_id = retry_run.run_id;
  update pgflow.step_states s
  set status = case when s.started_at is null then 'created' else 'started' end, failed_at = null, error_message = null,
      remaining_tasks = case when s.started_at is null then null else s.remaining_tasks end
  where s.run_id = retry_run.run_id and s.status = 'failed';

  update pgflow.step_tasks t
  set stage = case when t.attempts_count = 0 and t.ready_at > at then 'delayed' else 'ready' end,
      ready_at = case when t.attempts_count = 0 then t.ready_at else at end,   -- a start delay goes on
      status = 'queued', claim_token = null, attempts_count = 0, requeued_count = 0, output = null,
      error_message = null, started_at = null, completed_at = null, failed_at = null
  from pgflow.step_states s
  where t.run_id = retry_run.run_id and t.status <> 'completed'
    and s.run_id = t.run_id and s.step_slug = t.step_slug and s.status = 'started';

  -- a condition that ended the run is asked again, and so is what a failure left unresolved
  select array_agg((s.run_id, r.version_id, s.step_slug)::pgflow.step_ref) into ready
  from pgflow.runs r join pgflow.step_states s on s.run_id = r.run_id
  where r.run_id = retry_run.run_id and s.status = 'created' and s.remaining_deps = 0;
  if ready is not null then
    perform pgflow.advance_flows(ready, '{}', '{}', at, null, '{}', '{}', 0);
  end if;
  return true;
end
$$;

create or replace function pgflow.lock_run(run_id uuid) returns text
language plpgsql as $$
declare
  status text;
begin
  select r.status into status from pgflow.runs r where r.run_id = lock_run.run_id for no key update;
  if not found then
    perform pgflow.raise('PF404', format('no run %s', run_id));
  end if;
  return status;
end
$$;
