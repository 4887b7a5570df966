-- STEER: what a person does to a run; each call that did something leaves a row in audit (audit.sql).
-- Locks: runs by id, all that a call needs in one statement; then their tasks; then their step_states.

-- End a live run now, and with it its live children that are not to outlive it. Running bodies are told at their
-- worker's next heartbeat; what they return is dropped, and they keep their slots until they have ended. Not done: the
-- run had ended already.
create or replace function pgflow.cancel_run(
  run_id uuid, reason text default null, actor text default null, out done boolean, out queues text[]
) language plpgsql set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  tree constant uuid[] := pgflow.lock_tree(cancel_run.run_id);
  gates constant text[] := pgflow.gates_before(tree);
begin
  done := tree <> '{}';
  queues := '{}';
  if not done then
    return;
  end if;
  update pgflow.runs r
  set status = 'cancelled', cancelled_at = greatest(at, r.started_at), error_message = case
    when r.run_id = cancel_run.run_id then coalesce(reason, 'cancelled')
    else format('cancelled with run %s', cancel_run.run_id) end
  where r.run_id = any (tree);
  perform pgflow.close_runs(tree);
  queues := pgflow.end_runs(tree, at) || pgflow.wake_gates(gates);
  perform pgflow.write_audit(
    at, actor, 'cancel', 'run', t::text, t, jsonb_build_object('reason', reason, 'root', cancel_run.run_id))
  from unnest(tree) t;
end
$$;

-- Lock a live run, its parent (whose join it moves) and all live runs that end with it; answer with those that end, none
-- when it had ended. A child that came into being meanwhile may have any id: then all is locked anew, so that nobody ever
-- waits for a run while they hold one that comes after it.
create or replace function pgflow.lock_tree(root uuid) returns uuid[]
language plpgsql as $$
declare
  parent uuid;
  known uuid[] := pgflow.tree_of(root);
  tree uuid[];
begin
  select r.parent_run_id into parent from pgflow.runs r where r.run_id = root;
  if not found then
    perform pgflow.raise('PF404', format('no run %s', root));
  end if;
  loop
    begin
      perform from pgflow.runs r where r.run_id = any (known || root || parent) order by r.run_id for no key update;
      tree := pgflow.tree_of(root);
      if tree <@ known then
        return tree;
      end if;
      raise triggered_action_exception;      -- nothing else gives locks back
    exception when triggered_action_exception then
      known := tree;
    end;
  end loop;
end
$$;

-- A live run and all live runs that end with it.
create or replace function pgflow.tree_of(root uuid) returns uuid[]
language plpgsql as $$
begin
  return array(
    with recursive tree as (
      select r.run_id from pgflow.runs r where r.run_id = root and r.status = 'started'
      union all
      select c.run_id
      from tree t join pgflow.runs c on c.parent_run_id = any (array[t.run_id])
      where c.status = 'started' and c.on_parent_end = 'cancel'
    )
    select t.run_id from tree t);
end
$$;

-- Let a failed or cancelled run go on from where it ended: what completed stays, what failed gets all its attempts
-- again, what waited waits on. The join that counted it as failed counts it as live. Not done: the run is live or complete.
create or replace function pgflow.retry_run(
  run_id uuid, actor text default null, out done boolean, out queues text[]
) language plpgsql set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  run constant pgflow.runs := pgflow.lock_with_parent(retry_run.run_id);
begin
  done := run.status in ('failed', 'cancelled');
  queues := '{}';
  if not done then
    return;
  end if;
  begin
    update pgflow.runs r
    set status = 'started', failed_at = null, cancelled_at = null, error_message = null, failed_step = null,
        paused_at = null, key_guard = r.key, remaining_steps = case when r.kind = 'flow' then r.remaining_steps else 1 end
    where r.run_id = run.run_id;
  exception when unique_violation then
    perform pgflow.raise('PF409', format('the key %L of run %s belongs to run %s now', run.key, run.run_id, o.run_id),
      'Cancel that one first; or restart this one: a restart has no key.')
    from pgflow.runs o where o.key_guard = run.key;
  end;
  update pgflow.joins j set pending = j.pending + 1, failed = j.failed - 1 where j.join_id = run.join_id;
  perform pgflow.reopen_steps(run.run_id);
  perform pgflow.rearm_tasks(run.run_id, at, coalesce(run.failed_at, run.cancelled_at));
  perform pgflow.ask_again(run.run_id, run.version_id, at);
  queues := pgflow.ready_queues(run.run_id);
  perform pgflow.write_audit(at, actor, 'retry', 'run', run.run_id::text, run.run_id, jsonb_build_object('was', run.status));
end
$$;

-- A run and the parent whose join it moves, in the one order that everybody keeps.
create or replace function pgflow.lock_with_parent(id uuid) returns pgflow.runs
language plpgsql as $$
declare
  run pgflow.runs;
begin
  perform from pgflow.runs r
  where r.run_id = any (array[id, (select c.parent_run_id from pgflow.runs c where c.run_id = id)])
  order by r.run_id for no key update;
  select * into run from pgflow.runs r where r.run_id = id;
  if not found then
    perform pgflow.raise('PF404', format('no run %s', id));
  end if;
  return run;
end
$$;

create or replace function pgflow.reopen_steps(run uuid) returns void
language plpgsql as $$
begin
  update pgflow.step_states s
  set status = case when s.started_at is null then 'created' else 'started' end, failed_at = null, error_message = null,
      remaining_tasks = case when s.started_at is null then null else s.remaining_tasks end
  where s.run_id = run and s.status = 'failed';
end
$$;

-- The tasks that ended with their run go back to where they were: what waits for a signal, or for children that are not
-- all there yet, waits on; a delay that is not over goes on. A delay between two attempts is over.
create or replace function pgflow.rearm_tasks(run uuid, at timestamptz, ended_at timestamptz) returns void
language plpgsql as $$
begin
  update pgflow.step_tasks t
  set stage = s.stage, waiting = t.waiting and s.stage <> 'ready',
      ready_at = case when s.stage = 'ready' then at else t.ready_at end,
      status = 'queued', claim_token = null, attempts_count = 0, requeued_count = 0, output = null, blocked_on = null,
      error_message = null, started_at = null, completed_at = null, failed_at = null
  from (
    select t.message_id, case
        when t.waiting and exists (select from pgflow.joins j where j.join_id = t.join_id and not j.open) then 'ready'
        when t.waiting and t.ready_at <= ended_at then 'parked'   -- a deadline would lie after the end
        when (t.waiting or t.attempts_count = 0) and t.ready_at > at then 'delayed'
        else 'ready' end as stage
    from pgflow.step_tasks t
    where t.run_id = run and t.status <> 'completed' and not exists (
      select from pgflow.step_states w where w.run_id = run and w.step_slug = t.step_slug and w.status <> 'started')
  ) s
  where t.run_id = run and t.message_id = s.message_id;
end
$$;

-- A condition that ended the run is asked again, and so is what a failure left unresolved.
create or replace function pgflow.ask_again(run uuid, version int, at timestamptz) returns void
language plpgsql as $$
declare
  ready constant pgflow.step_ref[] := array(
    select (run, version, s.step_slug)::pgflow.step_ref
    from pgflow.step_states s where s.run_id = run and s.status = 'created' and s.remaining_deps = 0);
begin
  if ready <> '{}' then
    perform pgflow.advance_flows(ready, '{}', '{}', at, null, '{}', '{}', 0);
  end if;
end
$$;

-- The place in the line of a live run's open tasks, and of those to come: lower is earlier. False: the run had ended, or
-- all of it has this priority.
create or replace function pgflow.set_priority(run_id uuid, priority int, actor text default null) returns boolean
language plpgsql set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
declare
  wanted constant smallint := set_priority.priority;
  was smallint;
  tasks int;
begin
  if pgflow.lock_run(set_priority.run_id) <> 'started' then
    return false;
  end if;
  select r.priority into was from pgflow.runs r where r.run_id = set_priority.run_id;
  update pgflow.step_tasks t set priority = wanted
  where t.run_id = set_priority.run_id and t.stage || '' <> 'closed' and t.priority <> wanted;
  get diagnostics tasks = row_count;
  if tasks = 0 and was = wanted then
    return false;
  end if;
  update pgflow.runs r set priority = wanted where r.run_id = set_priority.run_id;
  perform pgflow.write_audit(pgflow.now(), actor, 'set_priority', 'run', set_priority.run_id::text, set_priority.run_id,
    jsonb_build_object('from', was, 'to', wanted));
  return true;
end
$$;

-- Forget an ended run and all that it owns. What stays are the audit trail, its children and its restarts, which go on
-- naming it. A live run is refused.
create or replace function pgflow.delete_run(run_id uuid, actor text default null) returns boolean
language plpgsql set search_path = '' set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if pgflow.lock_run(delete_run.run_id) = 'started' then
    perform pgflow.raise('PF409', format('run %s is live', delete_run.run_id), 'Cancel it first.');
  end if;
  perform pgflow.write_audit(pgflow.now(), actor, 'delete', 'run', r.run_id::text, r.run_id,
    jsonb_build_object('flow', r.flow_slug, 'status', r.status, 'key', r.key))
  from pgflow.runs r where r.run_id = delete_run.run_id;
  delete from pgflow.step_tasks t where t.run_id = delete_run.run_id;
  delete from pgflow.step_states s where s.run_id = delete_run.run_id;
  delete from pgflow.attempts a where a.run_id = delete_run.run_id;
  delete from pgflow.signals s where s.run_id = delete_run.run_id;
  delete from pgflow.joins j where j.run_id = delete_run.run_id;
  delete from pgflow.runs r where r.run_id = delete_run.run_id;
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

-- Where something of a run is ready: whom to tell.
create or replace function pgflow.ready_queues(run uuid) returns text[]
language plpgsql as $$
begin
  return array(select distinct t.queue from pgflow.step_tasks t where t.run_id = run and t.stage || '' = 'ready');
end
$$;

-- The gates that ready tasks of these runs stand before. They may have been woken for a slot that is free: who takes them
-- out of the way wakes the next.
create or replace function pgflow.gates_before(runs uuid[]) returns text[]
language plpgsql as $$
begin
  return array(
    select t.concurrency_key from pgflow.step_tasks t
    where t.run_id = any (runs) and t.stage || '' = 'ready' and t.concurrency_key is not null);
end
$$;
