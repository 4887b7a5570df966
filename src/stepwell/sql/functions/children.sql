-- CHILDREN: what became of them, told to the task that waited for them.

-- The children of the last Spawn of a task, in the order in which it gave them.
create or replace function pgflow.joined_by(message_id bigint, most int)
returns table (run_id uuid, flow_slug text, kind text, status text, output jsonb, error_message text, key text,
  started_at timestamptz, ended_at timestamptz)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.run_id, r.flow_slug, r.kind, r.status, r.output, r.error_message, r.key, r.started_at,
    coalesce(r.completed_at, r.failed_at, r.cancelled_at)
  from pgflow.step_tasks t
  join pgflow.runs r on r.join_id = t.join_id
  where t.message_id = joined_by.message_id
  order by r.run_id limit most;
$$;

-- The children of a run, oldest first.
create or replace function pgflow.children_of(run_id uuid, most int default 100)
returns table (run_id uuid, flow_slug text, kind text, status text, output jsonb, error_message text, key text,
  started_at timestamptz, ended_at timestamptz, join_id bigint)
language sql stable set search_path = pg_catalog, pg_temp as $$
  select r.run_id, r.flow_slug, r.kind, r.status, r.output, r.error_message, r.key, r.started_at,
    coalesce(r.completed_at, r.failed_at, r.cancelled_at), r.join_id
  from pgflow.runs r where r.parent_run_id = children_of.run_id
  order by r.run_id limit most;
$$;
