-- WORKERS: who is there, and how they are, for people who look; and telling them to go. Locks: workers by id.

-- Workers that have not stopped, or have within a time, newest first. `health`: healthy while it beats, stale when it missed
-- some, dead when it missed too many or has stopped. What is draining takes nothing new, and is none the worse for it.
create or replace function pgflow.worker_health(stopped_within interval default '0', most int default 1000)
returns table (worker_id uuid, name text, host text, pid int, queues text[], health text, draining boolean, running int,
  started_at timestamptz, last_heartbeat_at timestamptz, silent float8, stopped_at timestamptz)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with busy as (
    select t.last_worker_id, count(*)::int as running from pgflow.step_tasks t where t.stage = 'running' group by t.last_worker_id
  )
  select w.worker_id, w.function_name, w.host, w.pid, string_to_array(w.queue_name, ','), pgflow.health_of(w), w.deprecated_at is not null,
    coalesce(b.running, 0), w.started_at, w.last_heartbeat_at,
    extract(epoch from greatest(pgflow.now() - w.last_heartbeat_at, '0'))::float8, w.stopped_at
  from pgflow.workers w left join busy b on b.last_worker_id = w.worker_id
  where w.stopped_at is null or w.stopped_at >= pgflow.now() - stopped_within
  order by w.started_at desc, w.worker_id limit most;
$$;

-- One that renews a long lease beats seldom, and may.
create or replace function pgflow.health_of(worker pgflow.workers) returns text
language sql stable set search_path = pg_catalog, pg_temp as $$
  select case
    when worker.stopped_at is not null then 'dead'
    when s.silent < greatest(interval '30 seconds', worker.lease) then 'healthy'
    when s.silent < greatest(interval '60 seconds', 2 * worker.lease) then 'stale'
    else 'dead' end
  from (select pgflow.now() - worker.last_heartbeat_at as silent) s;
$$;

-- Whether a healthy worker takes on what is in a queue.
create or replace function pgflow.is_served(queue text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select exists (
    select from pgflow.workers w
    where w.stopped_at is null and w.deprecated_at is null and queue = any (string_to_array(w.queue_name, ','))
      and pgflow.health_of(w) = 'healthy');
$$;

-- Tell workers to take nothing new, to end what runs, and to go. Answers with those that had not been told before.
create or replace function pgflow.drain_workers(ids uuid[], actor text default null) returns setof uuid
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  told uuid[];
begin
  perform from pgflow.workers w where w.worker_id = any (ids) order by w.worker_id for no key update;
  with drained as (
    update pgflow.workers w set deprecated_at = at
    where w.worker_id = any (ids) and w.stopped_at is null and w.deprecated_at is null
    returning w.worker_id
  )
  select array_agg(d.worker_id) into told from drained d;
  perform pgflow.write_audit(at, actor, 'drain', 'worker', t::text, null) from unnest(told) t;
  return query select t from unnest(told) t;
end
$$;

-- What a worker serves by now, and how it is set up: the lanes that it claims of, how many tasks it runs at once, and what its clock
-- says. `queues` has those of messages too.
create or replace function pgflow.serve_lanes(
  id uuid, queues text[], lane_queues text[], lane_versions int[], concurrency int, clock timestamptz
) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  update pgflow.workers w
  set queue_name = array_to_string(queues, ','), lane_queues = serve_lanes.lane_queues, lane_versions = serve_lanes.lane_versions,
      concurrency = serve_lanes.concurrency, clock_ahead = extract(epoch from clock - clock_timestamp())
  where w.worker_id = id;
end;

-- The same, as workers of before say it.
create or replace function pgflow.serve_queues(id uuid, queues text[]) returns void
language sql set search_path = pg_catalog, pg_temp
begin atomic
  update pgflow.workers w set queue_name = array_to_string(queues, ',')
  where w.worker_id = id and w.queue_name <> array_to_string(queues, ',');
end;
