-- QUEUES: what is where, for people who look. Nothing here writes.

-- Every queue that is known, of tasks and of messages, with what is ready in it (counted up to `most`) and what runs.
create or replace function pgflow.list_queues(most int default 10000)
returns table (queue text, ready int, oldest_at timestamptz, running int, paused_at timestamptz, reason text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  with messages as materialized (
    select * from pgflow.message_queues(most)
  ), queue as (
    select coalesce(v.queue, v.flow_slug) as name from pgflow.versions v
    union select l.queue from pgflow.lanes l
    union select m.queue from messages m
    union select p.name from pgflow.pauses p where p.kind = 'queue'
  ), busy as (
    select t.queue, count(*)::int as running from pgflow.step_tasks t where t.stage = 'running' group by t.queue
  )
  select q.name, r.ready + coalesce(m.ready, 0), least(r.oldest_at, m.oldest_at),
    coalesce(b.running, 0) + coalesce(m.running, 0), p.paused_at, p.reason
  from queue q
  cross join lateral (
    select count(*)::int, min(w.ready_at)
    from (select t.ready_at from pgflow.step_tasks t where t.stage = 'ready' and t.queue = q.name limit most) w
  ) r (ready, oldest_at)
  left join busy b on b.queue = q.name
  left join messages m on m.queue = q.name
  left join pgflow.pauses p on p.kind = 'queue' and p.name = q.name
  order by q.name;
$$;

-- Every flow, machine and job that is deployed, with its current version.
create or replace function pgflow.list_flows()
returns table (flow_slug text, kind text, version int, queue text, paused_at timestamptz, reason text)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select f.flow_slug, f.kind, v.version, coalesce(v.queue, f.flow_slug), p.paused_at, p.reason
  from pgflow.flows f
  left join pgflow.versions v on v.version_id = f.version_id
  left join pgflow.pauses p on p.kind = 'flow' and p.name = f.flow_slug
  order by f.flow_slug;
$$;
