-- OBSERVE: turns of workers that trace or measure, and what a database has to be measured. Locks: as commit.sql.

-- One turn, as commit_and_claim, with what is worth knowing beside it. Of a task: for how long it was ready before it was
-- taken, and the trace that its run is part of. A row with the verdict 'ended' is of a run that this turn brought to its end:
-- `queue` is its status, `seconds` what it took from its start.
create or replace function pgflow.observed_turn(
  worker uuid, message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[],
  error_types text[], error_messages text[], tracebacks text[], lane_queues text[], lane_versions int[], want int,
  patient boolean default true
) returns table (
  verdict text, queue text, message_id bigint, claim_token bigint, run_id uuid, flow_slug text, version_id int,
  step_slug text, task_index int, attempt int, max_attempts int, timeout int, started_at timestamptz,
  input text, flow_input text, kind text, key text, crashes int, signals text, children text, version int,
  seconds float8, trace text)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set lock_timeout = '1s' set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  -- a statement of its own: the next one must see what this one wrote
  told constant pgflow.turn_row[] := array(
    select row(c.*)::pgflow.turn_row
    from pgflow.commit_and_claim(worker, message_ids, tokens, outcomes, outputs, error_types, error_messages, tracebacks,
      lane_queues, lane_versions, want, patient) c);
begin
  return query
  select c.*, case when c.verdict is null then (
      select greatest(extract(epoch from c.started_at - t.ready_at), 0)::float8 from pgflow.step_tasks t
      where t.message_id = c.message_id) end,
    case when c.verdict is null then (select r.trace::text from pgflow.runs r where r.run_id = c.run_id) end
  from unnest(told) c;
  if message_ids <> '{}' then
    return query
    select 'ended', r.status, null::bigint, null::bigint, r.run_id, r.flow_slug, r.version_id, null::text, null::int, null::int,
      null::int, null::int, r.started_at, null::text, null::text, r.kind, null::text, null::int, null::text, null::text,
      null::int, extract(epoch from e.ended_at - r.started_at)::float8, null::text
    from (
      select distinct t.run_id from unnest(message_ids) i
      cross join lateral (select t.run_id from pgflow.step_tasks t where t.message_id = i offset 0) t) w
    join pgflow.runs r on r.run_id = any (array[w.run_id])
    cross join lateral (select coalesce(r.completed_at, r.failed_at, r.cancelled_at) as ended_at) e
    where r.status || '' <> 'started' and e.ended_at >= at;
  end if;
end
$$;

-- What a database has before it, as numbers: `label` is the queue, stage, limit, state of workers or program that one is of. Bounded,
-- whatever is in the tables: `most_names` queues and limits are told, and nothing is counted past `most`.
create or replace function pgflow.measure(most_names int default 100, most int default 10000)
returns table (metric text, label text, value float8)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
  lately constant timestamptz := at - interval '15 minutes';
begin
  return query
  with recursive queues as (                 -- from one queue that has work to the next, by the index
    (select t.queue, 1 as n from pgflow.step_tasks t where t.stage = 'ready' order by t.queue limit 1)
    union all
    select (select t.queue from pgflow.step_tasks t where t.stage = 'ready' and t.queue > q.queue order by t.queue limit 1), q.n + 1
    from queues q where q.queue is not null and q.n < most_names
  ), ready as (
    select q.queue, r.tasks, r.oldest from queues q cross join lateral (
      select count(*) as tasks, min(w.ready_at) as oldest from (
        select t.ready_at from pgflow.step_tasks t where t.stage = 'ready' and t.queue = q.queue limit most) w) r
    where q.queue is not null
    union all
    select m.queue, m.ready, m.oldest_at from (select * from pgflow.message_queues(most) limit most_names) m
  )
  select m.metric, r.queue, m.value::float8
  from (select r.queue, sum(r.tasks) as tasks, min(r.oldest) as oldest from ready r group by r.queue) r
  cross join lateral (values
    ('queue_ready', r.tasks), ('queue_oldest_seconds', greatest(extract(epoch from at - r.oldest), 0))) m (metric, value);

  return query
  select 'tasks', s.stage, s.tasks::float8
  from (values
    ('running', (select count(*) from (select from pgflow.step_tasks t where t.stage = 'running' limit most) w)),
    ('delayed', (select count(*) from (select from pgflow.step_tasks t where t.stage = 'delayed' limit most) w)),
    ('blocked', (select count(*) from (select from pgflow.step_tasks t where t.stage = 'blocked' limit most) w)),
    ('parked', (select count(*) from (select from pgflow.step_tasks t where t.stage = 'parked' limit most) w)),
    ('paused', (select count(*) from (select from pgflow.step_tasks t where t.stage = 'paused' limit most) w))) s (stage, tasks);

  return query
  select l.metric, '', coalesce(greatest(extract(epoch from at - l.due), 0), 0)::float8
  from (values
    ('timers_late_seconds', (select min(t.ready_at) from pgflow.step_tasks t where t.stage = 'delayed')),
    ('schedules_late_seconds', (select min(s.next_at) from pgflow.schedules s where s.next_at is not null and s.paused_at is null)))
    l (metric, due);

  return query
  with held as (                             -- of a limit by key: of all keys together
    select case k.kind when 'limit' then 'concurrency' else k.kind end as kind,
      case k.kind when 'limit' then split_part(s.gate, '/', 2) else substr(s.gate, length(k.kind) + 2) end as name,
      count(*) as slots
    from (select s.gate from pgflow.slots s limit most) s
    cross join lateral (select split_part(s.gate, '/', 1) as kind) k group by 1, 2
  )
  select v.metric, l.kind || '/' || l.name, v.value::float8
  from (select * from pgflow.limits l where l.kind <> 'rate' order by l.kind, l.name limit most_names) l
  left join held h on h.kind = l.kind and h.name = l.name
  cross join lateral (values ('limit_capacity', l.capacity), ('limit_taken', coalesce(h.slots, 0))) v (metric, value);

  return query
  select 'workers', h.state, count(w.health)::float8
  from (values ('healthy'), ('stale'), ('dead'), ('lost')) h (state)
  left join (
    (select pgflow.health_of(w) as health from pgflow.workers w where w.stopped_at is null limit most)
    union all
    select 'lost' from (select * from pgflow.workers w where w.stopped_at is not null limit most) w
    where w.stopped_at > lately and w.stopped_at > w.last_heartbeat_at + w.lease) w on w.health = h.state
  group by h.state
  union all
  select 'heartbeat_age_seconds', '', coalesce(extract(epoch from max(at - w.last_heartbeat_at)), 0)::float8
  from pgflow.workers w where w.stopped_at is null
  union all
  select 'runs_steered', s.action, count(a.action)::float8
  from (values ('cancel'), ('retry'), ('restart'), ('delete')) s (action)
  left join (
    select t.action from (select * from pgflow.audit a order by a.audit_id desc limit most) t
    where t.kind = 'run' and t.at > lately) a on a.action = s.action
  group by s.action
  union all
  select 'dead_letters', '', count(*)::float8 from (select from pgflow.dead_letters limit most) d
  union all
  select 'connections', coalesce(nullif(a.application_name, ''), 'unnamed'), count(*)::float8
  from pg_stat_activity a where a.datname = current_database() and a.backend_type = 'client backend'
    and a.application_name like 'stepwell%'
  group by 2
  union all
  select 'connections_limit', '', current_setting('max_connections')::float8;
end
$$;

-- A run that has ended; nothing of one that is live. Asked in the transaction that may have ended it.
create or replace function pgflow.ended_run(run uuid)
returns table (run_id uuid, flow_slug text, kind text, status text, seconds float8)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.run_id, r.flow_slug, r.kind, r.status,
    extract(epoch from coalesce(r.completed_at, r.failed_at, r.cancelled_at) - r.started_at)::float8
  from pgflow.runs r where r.run_id = run and r.status <> 'started';
$$;
