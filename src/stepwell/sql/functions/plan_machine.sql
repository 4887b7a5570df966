-- PLAN, machines and jobs: one task per run, armed again in place, or closed with its run. The caller holds the runs.
--
-- What a word needs beside itself is its output, the move: `state` and `handed` (ids of the signals that this execution was
-- given) always; next: step delay queue priority concurrency rate weight inline; await: step names all timeout and the same; spawn: step
-- children quorum policy deadline and the same; done: result. Verdicts as in judge.sql; 'again' is an explicit retry.

-- Write the verdicts. Up to `want` tasks that go on at once are handed back, claimed already: a machine runs ahead on
-- its worker as long as no limit has a say in it.
create or replace function pgflow.move_runs(
  entries pgflow.entry[], at timestamptz, worker uuid, lane_queues text[], lane_versions int[], want int,
  out written bigint[], out handed bigint[], out woken text[]
) language plpgsql as $$
declare
  moves constant boolean := (select bool_or(e.kind = 'machine') from unnest(entries) e);
  old_tokens bigint[];
  new_tokens bigint[];
begin
  if moves then
    select m.written, m.handed, m.woken, m.old_tokens, m.new_tokens into written, handed, woken, old_tokens, new_tokens
    from pgflow.arm_tasks(entries, at, worker, lane_queues, lane_versions, want) m;
    update pgflow.slots s set claim_token = u.new     -- a machine that runs ahead keeps its place
    from unnest(old_tokens, new_tokens) u (old, new) where s.claim_token = u.old;
    entries := pgflow.entries_written(entries, written);
    update pgflow.signals g set consumed_at = at
    from unnest(entries) e
    cross join lateral jsonb_array_elements_text(
      case when e.kind = 'machine' and e.verdict in ('next', 'spawn', 'await', 'completed') then e.output -> 'handed' end) h
    where g.signal_id = any (array[h::bigint]) and g.run_id = e.run_id and g.consumed_at is null
      and (e.verdict <> 'await' or not e.output -> 'names' ? g.name);   -- what it waits for again it collects
  else
    select m.written, '{}'::bigint[], m.woken into written, handed, woken from pgflow.arm_jobs(entries, at) m;
    entries := pgflow.entries_written(entries, written);
  end if;
  perform pgflow.settle_moved(entries, at);
  if pgflow.somebody_listens() then perform pgflow.tell_runs('ended', array(select e.run_id from unnest(entries) e)); end if;
  if exists (select from unnest(entries) e where e.error_type is not null) then
    perform pgflow.log_attempts(entries, at);
  end if;
  if exists (select from unnest(entries) e where e.verdict = 'spawn') then
    woken := woken || pgflow.spawn_children(array(select e::pgflow.entry from unnest(entries) e where e.verdict = 'spawn'), at);
  end if;
end
$$;

-- A sweep may have taken a claim back since it was judged: then nothing of its outcome is written.
create or replace function pgflow.entries_written(entries pgflow.entry[], written bigint[]) returns pgflow.entry[]
language plpgsql as $$
begin
  if cardinality(written) = cardinality(entries) then
    return entries;
  end if;
  return array(select e::pgflow.entry from unnest(entries) e where e.claim_token = any (written));
end
$$;

-- The tasks of jobs: closed, or delayed for a retry or a snooze. Apart from arm_tasks, which could do it too, because a queue of
-- jobs drains a third faster this way.
create or replace function pgflow.arm_jobs(
  entries pgflow.entry[], at timestamptz, out written bigint[], out woken text[]
) language plpgsql as $$
begin
  with moved as (
    update pgflow.step_tasks t
    set stage = case when e.verdict not in ('retry', 'snooze') then 'closed' when e.delay > 0 then 'delayed' else 'ready' end,
        status = case when e.verdict = 'completed' then 'completed' when e.verdict in ('retry', 'snooze') then 'queued'
          else 'failed' end,
        claim_token = null, attempts_count = t.attempts_count - (e.verdict = 'snooze')::int,
        error_message = coalesce(e.error_message, t.error_message),
        started_at = case when e.verdict not in ('retry', 'snooze') then t.started_at end,
        ready_at = case when e.verdict in ('retry', 'snooze') then at + make_interval(secs => e.delay) else t.ready_at end,
        completed_at = case when e.verdict = 'completed' then greatest(at, t.started_at) end,
        failed_at = case when e.verdict not in ('completed', 'retry', 'snooze') then greatest(at, t.started_at) end
    from unnest(entries) e
    where t.message_id = any (array[e.message_id]) and t.claim_token = e.claim_token
    returning e.claim_token, t.stage, t.queue
  )
  select coalesce(array_agg(m.claim_token), '{}'), coalesce(array_agg(distinct m.queue) filter (where m.stage <> 'closed'), '{}')
  into written, woken from moved m;
end
$$;

-- The tasks of machines (and of jobs in the same batch).
create or replace function pgflow.arm_tasks(
  entries pgflow.entry[], at timestamptz, worker uuid, lane_queues text[], lane_versions int[], want int,
  out written bigint[], out handed bigint[], out woken text[], out old_tokens bigint[], out new_tokens bigint[]
) language plpgsql as $$
begin
  with move as (
    select e.message_id, e.claim_token, e.run_id, e.version_id, e.step_slug, e.verdict, e.error_message, e.delay, o.said as output,
      t.queue as old_queue, t.concurrency_key as old_gate, r.paused_at is not null as paused,
      e.verdict in ('next', 'await', 'spawn') as moves, o.said ->> 'step' as target,
      o.said ? 'after_error' and o.said ->> 'step' = e.step_slug as stumbles,
      coalesce(o.said ->> 'queue', t.queue) as queue,
      case when o.said ? 'concurrency' then pgflow.completed_by(o.said ->> 'concurrency', pgflow.path_in(o.said, 'concurrency_by'), o.said -> 'state')
        else coalesce(
        pgflow.completed_by(s.opt_concurrency, s.opt_concurrency_by, o.said -> 'state'), t.concurrency_key) end as gate,
      case when o.said ? 'rate' then pgflow.completed_by(o.said ->> 'rate', pgflow.path_in(o.said, 'rate_by'), o.said -> 'state')
        else pgflow.completed_by(s.opt_rate, s.opt_rate_by, o.said -> 'state') end as rate,
      coalesce((o.said ->> 'weight')::float8, s.opt_weight) as weight,
      coalesce((o.said ->> 'priority')::smallint, s.opt_priority, t.priority) as priority,
      case when e.verdict = 'await' then array(select jsonb_array_elements_text(o.said -> 'names')) end as names,
      coalesce((o.said ->> 'all')::boolean, false) as needs_all,
      case when o.said ? 'handed' then array(select jsonb_array_elements_text(o.said -> 'handed')::bigint) end as given,
      case when o.said ->> p.word is not null then greatest((o.said ->> p.word)::float8, 0.1) end as patience
    from unnest(entries) e
    cross join lateral (select case when e.kind = 'machine' then e.output end as said) o  -- a job's output is its user's
    cross join lateral (select case when e.verdict = 'spawn' then 'deadline' else 'timeout' end as word) p
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = e.message_id offset 0) t
    cross join lateral (select r.paused_at from pgflow.runs r where r.run_id = e.run_id offset 0) r
    left join pgflow.steps s on s.version_id = any (array[e.version_id]) and s.step_slug = o.said ->> 'step'
      and e.verdict in ('next', 'await', 'spawn')
  ), staged as (
    select m.*, case
      when m.verdict in ('next', 'retry', 'again', 'snooze') then case when m.delay > 0 then 'delayed' else 'ready' end
      when m.verdict = 'await' and pgflow.has_signals(m.run_id, m.names, m.needs_all, m.given) then 'ready'
      when m.verdict in ('await', 'spawn') then case when m.patience is not null then 'delayed' else 'parked' end
      else 'closed' end as stage
    from move m
  ), ahead as (
    select s.*, s.runs_ahead and row_number() over (partition by s.runs_ahead order by s.priority) <= want as handed
    from (
      select s.*, s.verdict = 'next' and s.stage = 'ready' and want > 0 and not s.paused and not s.stumbles
        and not s.output ? 'lingers'
        and s.output -> 'inline' is distinct from 'false' and s.rate is null and s.queue = s.old_queue
        and (s.gate is null or s.gate = s.old_gate)
        and exists (
          select from unnest(lane_queues, lane_versions) l (queue, version_id)
          where l.queue = s.queue and l.version_id = s.version_id) as runs_ahead
      from staged s) s
  ), moved as (
    update pgflow.step_tasks t
    set stage = case when a.handed then 'running' else a.stage end,
        status = case when a.handed then 'started' when a.stage <> 'closed' then 'queued'
          when a.verdict = 'completed' then 'completed' else 'failed' end,
        claim_token = case when a.handed then nextval('pgflow.claim_tokens') end,
        last_worker_id = case when a.handed then worker else t.last_worker_id end,
        step_slug = case when a.moves then a.target else t.step_slug end,
        attempts_count = case when a.moves and not coalesce(a.stumbles, false) then a.handed::int
          else t.attempts_count - (a.verdict = 'snooze')::int end,
        requeued_count = case when a.moves then 0 else t.requeued_count end,
        queue = case when a.moves then a.queue else t.queue end,
        priority = case when a.moves then a.priority else t.priority end,
        concurrency_key = case when a.moves then a.gate else t.concurrency_key end,
        rate_limit = case when a.moves then a.rate else t.rate_limit end,
        weight = case when a.moves then a.weight else t.weight end,
        awaits = case when a.verdict = 'await' then a.names when a.moves then null else t.awaits end,
        await_all = case when a.moves then a.needs_all else t.await_all end,
        seen = case when a.verdict = 'await' then a.given when a.moves then null else t.seen end,
        waiting = a.stage in ('parked', 'delayed') and a.verdict in ('await', 'spawn'),
        join_id = case when a.moves then null else t.join_id end,
        error_message = coalesce(a.error_message, t.error_message),
        ready_at = case when a.stage = 'closed' then t.ready_at when a.stage = 'parked' then 'infinity'
          else at + make_interval(secs => case when a.stage = 'delayed' then coalesce(a.patience, a.delay) else 0 end) end,
        started_at = case when a.handed then greatest(at, t.queued_at) when a.stage = 'closed' then t.started_at end,
        completed_at = case when a.verdict = 'completed' then greatest(at, t.started_at) end,
        failed_at = case when a.stage = 'closed' and a.verdict <> 'completed' then greatest(at, t.started_at) end
    from ahead a
    where t.message_id = any (array[a.message_id]) and t.claim_token = a.claim_token
    returning t.message_id, a.claim_token as old_token, t.claim_token, t.stage, t.queue, t.version_id,
      t.concurrency_key, t.fairness_key, a.old_queue
  ), lane as (
    insert into pgflow.lanes (queue, version_id)
    select distinct m.queue, m.version_id from moved m where m.queue <> m.old_queue order by 1, 2
    on conflict do nothing
  ), shared as (
    insert into pgflow.fair_queues (queue)
    select distinct m.queue from moved m where m.queue <> m.old_queue and m.fairness_key <> '' order by 1
    on conflict do nothing
  )
  select coalesce(array_agg(m.old_token), '{}'), coalesce(array_agg(m.message_id) filter (where m.stage = 'running'), '{}'),
    coalesce(array_agg(distinct m.queue) filter (where m.stage in ('ready', 'delayed')), '{}'),
    array_agg(m.old_token) filter (where m.stage = 'running' and m.concurrency_key is not null),
    array_agg(m.claim_token) filter (where m.stage = 'running' and m.concurrency_key is not null)
  into written, handed, woken, old_tokens, new_tokens
  from moved m;
end
$$;

-- The runs: the state of each machine that moved, and the end of each run that ended.
create or replace function pgflow.settle_moved(entries pgflow.entry[], at timestamptz) returns void
language sql as $$
  update pgflow.runs r
  set state = case when e.kind = 'machine' and e.output ? 'state' then e.output -> 'state' else r.state end,
      status = case when e.verdict in ('completed', 'cancelled') then e.verdict when e.verdict = 'fail' then 'failed'
        else r.status end,
      remaining_steps = case when e.verdict in ('completed', 'cancelled', 'fail') then 0 else r.remaining_steps end,
      output = case when e.verdict = 'completed' then
        coalesce(case when e.kind = 'machine' then e.output -> 'result' else e.output end, r.output) end,   -- write_ahead
      error_message = case when e.verdict in ('cancelled', 'fail') then e.error_message end,
      failed_step = case when e.verdict = 'fail' then e.step_slug end,
      completed_at = case when e.verdict = 'completed' then greatest(at, r.started_at) end,
      failed_at = case when e.verdict = 'fail' then greatest(at, r.started_at) end,
      cancelled_at = case when e.verdict = 'cancelled' then greatest(at, r.started_at) end
  from unnest(entries) e
  where r.run_id = any (array[e.run_id]) and r.status || '' = 'started'
    and (e.verdict in ('completed', 'cancelled', 'fail') or (e.kind = 'machine' and e.output ? 'state'));
$$;

-- A row for each attempt that did not succeed, also where on_error found a way on.
create or replace function pgflow.log_attempts(entries pgflow.entry[], at timestamptz) returns void
language sql as $$
  insert into pgflow.attempts (
    run_id, step_slug, task_index, attempt, error_type, error_message, traceback, worker_id, started_at, failed_at)
  select e.run_id, e.step_slug, e.task_index, e.attempt, e.error_type, coalesce(e.error_message, ''), e.traceback,
    (select t.last_worker_id from pgflow.step_tasks t where t.message_id = e.message_id), e.started_at, greatest(at, e.started_at)
  from unnest(entries) e where e.error_type is not null;
$$;
