-- PRESENCE: workers come, beat, and go. A lease belongs to one incarnation; a row that stopped stays stopped.

create or replace function pgflow.register_worker(
  id uuid, name text, queues text[], lease float8, host text default null, pid int default null
) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  insert into pgflow.workers (worker_id, queue_name, function_name, started_at, last_heartbeat_at, lease, host, pid)
  values (id, array_to_string(queues, ','), name, pgflow.now(), pgflow.now(), make_interval(secs => lease), host, pid)
  on conflict (worker_id) do nothing;  -- said again: the answer was lost on the way
end;

-- Renew a worker's lease. `alive` false: it lapsed and its tasks are others' now; come back under a new id.
-- `held`: the tokens that are still its own, so that it can stop bodies whose claim is gone.
create or replace function pgflow.heartbeat(id uuid) returns table (alive boolean, draining boolean, held bigint[])
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  update pgflow.workers w set last_heartbeat_at = greatest(pgflow.now(), w.last_heartbeat_at)
  where w.worker_id = id and w.stopped_at is null
  returning true, w.deprecated_at is not null into alive, draining;
  if not found then
    return query select false, false, '{}'::bigint[];
    return;
  end if;
  held := array(select t.claim_token from pgflow.step_tasks t where t.last_worker_id = id and t.stage = 'running');
  return next;
end
$$;

-- A worker that leaves gives back what it holds, uncounted. Locks: the worker before the runs, as reclaim_tasks does.
create or replace function pgflow.leave(id uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  update pgflow.workers w set stopped_at = pgflow.now() where w.worker_id = id and w.stopped_at is null;
  perform pgflow.release_tasks(array_agg(t.message_id), array_agg(t.claim_token))
  from pgflow.step_tasks t where t.last_worker_id = id and t.stage = 'running';
end
$$;

create or replace function pgflow.mark_worker_stopped(worker_id uuid) returns void
language sql
begin atomic
  update pgflow.workers w set stopped_at = pgflow.now() where w.worker_id = mark_worker_stopped.worker_id;
end;
