-- PAUSE: a run, a queue or a flow stands still; nothing of it is lost. Locks: the run, then its tasks.

-- Nothing more of a live run is claimed. Bodies that run are written when they end; signals arrive, and time passes.
-- False: the run had ended, or was paused.
create or replace function pgflow.pause_run(run_id uuid, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  gates text[];
begin
  perform pgflow.lock_run(pause_run.run_id);
  update pgflow.runs r set paused_at = at
  where r.run_id = pause_run.run_id and r.status = 'started' and r.paused_at is null;
  if not found then
    return false;
  end if;
  gates := array(
    select t.concurrency_key from (          -- locked first: a wake-up may just be on its way
      select t.concurrency_key, t.stage from pgflow.step_tasks t
      where t.run_id = pause_run.run_id and t.concurrency_key is not null offset 0 for update) t
    where t.stage = 'ready');
  update pgflow.step_tasks t set stage = 'paused', blocked_on = null
  where t.run_id = pause_run.run_id and t.stage || '' in ('ready', 'blocked');
  perform pgflow.wake_gates(gates);          -- it may have been about to take a slot
  perform pgflow.write_audit(at, actor, 'pause', 'run', pause_run.run_id::text, pause_run.run_id);
  return true;
end
$$;

-- A paused run goes on where it was; its tasks keep their place in the line. False: it was not paused.
create or replace function pgflow.resume_run(run_id uuid, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
begin
  perform pgflow.lock_run(resume_run.run_id);
  update pgflow.runs r set paused_at = null
  where r.run_id = resume_run.run_id and r.status = 'started' and r.paused_at is not null;
  if not found then
    return false;
  end if;
  update pgflow.step_tasks t set stage = 'ready' where t.run_id = resume_run.run_id and t.stage = 'paused';
  perform pgflow.write_audit(pgflow.now(), actor, 'resume', 'run', resume_run.run_id::text, resume_run.run_id);
  return true;
end
$$;

-- Nothing is claimed of this queue until somebody resumes it. False: it was paused.
create or replace function pgflow.pause_queue(name text, actor text default null, reason text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return pgflow.pause_lanes('queue', pause_queue.name, actor, reason);
end
$$;

create or replace function pgflow.resume_queue(name text, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  return pgflow.resume_lanes('queue', resume_queue.name, actor);
end
$$;

-- Nothing is claimed of any run of this flow, machine or job until somebody resumes it. False: it was paused.
create or replace function pgflow.pause_flow(flow_slug text, actor text default null, reason text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  flow constant pgflow.flows := pgflow.flow_named(pause_flow.flow_slug);
begin
  return pgflow.pause_lanes('flow', flow.flow_slug, actor, reason);
end
$$;

create or replace function pgflow.resume_flow(flow_slug text, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  flow constant pgflow.flows := pgflow.flow_named(resume_flow.flow_slug);
begin
  return pgflow.resume_lanes('flow', flow.flow_slug, actor);
end
$$;

-- All queues in which a flow, a machine or a job may have something to do.
create or replace function pgflow.lanes_of(flow_slug text) returns text[]
language sql stable set search_path = pg_catalog, pg_temp as $$
  select array(
    select coalesce(v.queue, v.flow_slug) from pgflow.versions v where v.flow_slug = lanes_of.flow_slug
    union
    select l.queue from pgflow.versions v join pgflow.lanes l on l.version_id = v.version_id where v.flow_slug = lanes_of.flow_slug);
$$;

create or replace function pgflow.pause_lanes(kind text, name text, actor text, reason text) returns boolean
language plpgsql as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
begin
  insert into pgflow.pauses (kind, name, paused_at, reason)
  values (pause_lanes.kind, pause_lanes.name, at, pause_lanes.reason) on conflict do nothing;
  if not found then
    return false;
  end if;
  perform pgflow.write_audit(at, actor, 'pause', kind, name, null, jsonb_build_object('reason', reason));
  return true;
end
$$;

create or replace function pgflow.resume_lanes(kind text, name text, actor text) returns boolean
language plpgsql as $$
begin
  delete from pgflow.pauses p where p.kind = resume_lanes.kind and p.name = resume_lanes.name;
  if not found then
    return false;
  end if;
  perform pgflow.write_audit(pgflow.now(), actor, 'resume', kind, name, null);
  return true;
end
$$;
