-- STEER: what a person does to a run; each call that did something leaves a row in audit (audit.sql).
-- Locks: runs by id, all that a call needs in one statement; then their tasks; then their step_states.

-- End a live run now, and with it its live children that are not to outlive it. Running bodies are told at their
-- worker's next heartbeat; what they return is dropped, and they keep their slots until they have ended. False: the run
-- had ended already.
create or replace function pgflow.cancel_run(run_id uuid, reason text default null, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  if not exists (select from pgflow.runs r where r.run_id = cancel_run.run_id) then
    perform pgflow.raise('PF404', format('no run %s', cancel_run.run_id));
  end if;
  return cancel_run.run_id = any (pgflow.cancel_runs(array[cancel_run.run_id], reason, actor));
end
$$;

-- The same for many at once, which share their locks; answers with all that ended by it.
create or replace function pgflow.cancel_runs(roots uuid[], reason text default null, actor text default null) returns uuid[]
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
  tree constant uuid[] := pgflow.lock_trees(roots);
begin
  if tree = '{}' then
    return tree;
  end if;
  update pgflow.step_tasks t set ready_at = 'infinity'       -- so that a retry knows that it had no deadline
  where t.run_id = any (tree) and t.stage || '' = 'parked';
  update pgflow.runs r
  set status = 'cancelled', cancelled_at = greatest(at, r.started_at),
      error_message = case when r.run_id = any (roots) then coalesce(reason, 'cancelled') else 'cancelled with its parent run' end
  where r.run_id = any (tree);
  if pgflow.somebody_listens() then perform pgflow.tell_runs('cancelled', tree); end if;
  perform pgflow.close_runs(tree);
  perform pgflow.end_runs(tree, at);
  perform pgflow.write_audit(at, actor, 'cancel', 'run', r.run_id::text, r.run_id, jsonb_build_object(
    'reason', reason, 'with', case when r.run_id <> all (roots) then r.parent_run_id end))
  from pgflow.runs r where r.run_id = any (tree);
  return tree;
end
$$;

-- Lock live runs, their parents (whose joins they move) and all live runs that end with them; answer with those that end.
-- A child that came into being meanwhile may have any id: then all is locked anew, so that nobody ever waits for a run
-- while they hold one that comes after it.
create or replace function pgflow.lock_trees(roots uuid[]) returns uuid[]
language plpgsql as $$
declare
  parents constant uuid[] := array(
    select r.parent_run_id from pgflow.runs r where r.run_id = any (roots) and r.parent_run_id is not null);
  known uuid[] := pgflow.trees_of(roots);
  tree uuid[];
begin
  loop
    begin
      perform from pgflow.runs r where r.run_id = any (known || roots || parents) order by r.run_id for no key update;
      tree := pgflow.trees_of(roots);
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

-- Of these the live runs, and all live runs that end with them.
create or replace function pgflow.trees_of(roots uuid[]) returns uuid[]
language plpgsql as $$
begin
  return array(
    with recursive tree as (
      select r.run_id from pgflow.runs r where r.run_id = any (roots) and r.status = 'started'
      union
      select c.run_id
      from tree t join pgflow.runs c on c.parent_run_id = any (array[t.run_id])
      where c.status = 'started' and c.on_parent_end = 'cancel'
    )
    select t.run_id from tree t);
end
$$;

-- Let a failed or cancelled run go on from where it ended: what completed stays, what failed gets all its attempts
-- again, what waited waits on. The join that counted it as failed counts it as live. False: the run is live or complete.
create or replace function pgflow.retry_run(run_id uuid, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  run constant pgflow.runs := pgflow.lock_with_parent(retry_run.run_id);
begin
  if run.status not in ('failed', 'cancelled') then
    return false;
  end if;
  if run.kind <> 'flow' then
    perform pgflow.check_step_is_there(run);
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
  delete from pgflow.orphans o where o.parent_run_id = run.run_id;   -- its children live with it again
  update pgflow.joins j
  set pending = j.pending + 1, failed = j.failed - 1,
      open = j.open or (                      -- a parent that ended while it waited waits again when it comes back
        not pgflow.is_over(j.policy, j.quorum, j.pending + 1, j.completed, j.failed - 1)
        and exists (
          select from pgflow.step_tasks t join pgflow.runs p on p.run_id = t.run_id
          where t.message_id = j.message_id and t.join_id = j.join_id and p.status <> 'started'))
  where j.join_id = run.join_id;
  perform pgflow.reopen_steps(run.run_id);
  if pgflow.somebody_listens() then perform pgflow.tell_present(run.run_id, 'started'); end if;
  perform pgflow.rearm_tasks(run, at);
  perform pgflow.ask_again(run.run_id, run.version_id, at);
  if exists (select from pgflow.runs r where r.run_id = run.run_id and r.status <> 'started') then
    perform pgflow.end_runs(array[run.run_id], at);          -- a condition that failed it fails it again
  end if;
  perform pgflow.write_audit(at, actor, 'retry', 'run', run.run_id::text, run.run_id, jsonb_build_object('was', run.status));
  return true;
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

-- A version of a machine may lose steps that no live run stands at.
create or replace function pgflow.check_step_is_there(run pgflow.runs) returns void
language plpgsql stable as $$
declare
  gone text;
begin
  select t.step_slug into gone from pgflow.step_tasks t
  where t.run_id = run.run_id and not exists (
    select from pgflow.steps s where s.version_id = run.version_id and s.step_slug = t.step_slug);
  if found then
    perform pgflow.raise('PF409', format('run %s ended at step %L, which %s does not have any more', run.run_id, gone, run.flow_slug),
      'Restart it from another step.');
  end if;
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
create or replace function pgflow.rearm_tasks(run pgflow.runs, at timestamptz) returns void
language plpgsql as $$
begin
  update pgflow.step_tasks t
  set stage = s.stage, waiting = s.waits and s.stage <> 'ready',
      ready_at = case when s.stage = 'delayed' then t.ready_at else at end,
      status = 'queued', claim_token = null, attempts_count = 0, requeued_count = 0, output = null, blocked_on = null,
      permanently_stalled_at = null,
      error_message = null, started_at = null, completed_at = null, failed_at = null
  from (
    select t.message_id, coalesce(t.awaits is not null or j.open, false) as waits, case
        when not j.open or run.kind = 'flow' and t.seen is not null then 'ready'
        when t.ready_at = 'infinity' then 'parked'
        when t.attempts_count = 0 and t.ready_at > at then 'delayed'
        when t.attempts_count = 0 and run.status = 'failed' and (j.open or d.step_type = 'signal' and d.opt_signal_timeout is null)
          then 'parked'
        else 'ready' end as stage
    from pgflow.step_tasks t
    join pgflow.steps d on d.version_id = t.version_id and d.step_slug = t.step_slug
    left join pgflow.joins j on j.join_id = t.join_id
    where t.run_id = run.run_id and t.status <> 'completed' and not exists (
      select from pgflow.step_states w where w.run_id = t.run_id and w.step_slug = t.step_slug and w.status <> 'started')
  ) s
  where t.run_id = run.run_id and t.message_id = s.message_id;
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
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
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
  -- who freed a slot meanwhile left alone what we hold
  perform pgflow.wake_gates(pgflow.open_gates(array(
    select t.blocked_on from pgflow.step_tasks t where t.run_id = set_priority.run_id and t.stage || '' = 'blocked')));
  perform pgflow.write_audit(pgflow.now(), actor, 'set_priority', 'run', set_priority.run_id::text, set_priority.run_id,
    jsonb_build_object('from', was, 'to', wanted));
  return true;
end
$$;

-- Forget an ended run and all that it owns. What stays are the audit trail, its children and its restarts, which go on
-- naming it. A live run is refused.
create or replace function pgflow.delete_run(run_id uuid, actor text default null) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
begin
  if pgflow.lock_run(delete_run.run_id) = 'started' then
    perform pgflow.raise('PF409', format('run %s is live', delete_run.run_id), 'Cancel it first.');
  end if;
  perform pgflow.write_audit(pgflow.now(), actor, 'delete', 'run', r.run_id::text, r.run_id,
    jsonb_build_object('flow', r.flow_slug, 'status', r.status, 'key', r.key))
  from pgflow.runs r where r.run_id = delete_run.run_id;
  perform pgflow.forget_runs(array[delete_run.run_id]);
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

-- Where this run or its parent has something to do: whom to tell after it was steered.
create or replace function pgflow.ready_queues(run uuid) returns text[]
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  return array(
    select distinct t.queue from pgflow.step_tasks t
    where t.run_id = any (array[run, (select r.parent_run_id from pgflow.runs r where r.run_id = run)]) and t.stage || '' = 'ready');
end
$$;
