-- MAINTAIN: what nobody works on any more. Safe on every worker at once: what another sweep holds is skipped.
-- Locks: workers; then, through write_outcomes, runs before tasks; then tasks with SKIP LOCKED, which never wait.

-- End the incarnations whose lease lapsed and take their tasks back. A lost worker is no failed attempt, but past
-- the flow's opt_max_crashes the task fails by its own policy. A task past its timeout whose worker did not say so
-- is a failed attempt. Answers with the numbers of tasks requeued and failed.
-- Slots go with their claims: those of lost workers are free, and `queues` have something to do.
create or replace function pgflow.reclaim_tasks(
  margin interval default '30 seconds', out requeued int, out failed int, out queues text[])
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set jit = off set enable_seqscan = off as $$
declare
  at constant timestamptz := pgflow.now();
  ids bigint[];
  tokens bigint[];
  outcomes text[];
  types text[];
  messages text[];
begin
  perform pgflow.end_lapsed_workers(at);
  select array_agg(l.message_id), array_agg(l.claim_token),
    array_agg(case when l.lost then 'failed_permanently' else 'failed' end),
    array_agg(case when l.lost then 'WorkerLost' else 'TimedOut' end),
    array_agg(case when l.lost then format('%s workers were lost while they ran this task', l.requeued_count + 1)
      else format('step %s ran past its timeout of %s s and its worker did not stop it', l.step_slug, l.timeout) end)
  into ids, tokens, outcomes, types, messages
  from pgflow.stalled_tasks(at, margin) l where not l.lost or l.requeued_count >= l.max_crashes;
  failed := coalesce(cardinality(ids), 0);
  if failed > 0 then
    select cardinality(w.written) into failed     -- of a run that somebody holds: the next time
    from pgflow.write_outcomes(null, ids, tokens, outcomes, array_fill(null::jsonb, array[failed]),
      types, messages, array_fill(null::text, array[failed]), '{}', '{}', 0, patient => false, bodies_ended => false) w;
    update pgflow.step_tasks t set permanently_stalled_at = at
    from unnest(ids, types) l (id, type)
    where t.message_id = any (array[l.id]) and l.type = 'WorkerLost' and t.stage || '' = 'closed';
  end if;
  requeued := pgflow.requeue_lost(at, margin);
  queues := pgflow.free_lost_slots();
end
$$;

-- A body of a lost worker counts as ended. So does one whose claim is gone, where there is no worker to say so.
create or replace function pgflow.free_lost_slots() returns text[]
language sql as $$
  select pgflow.free_slots(coalesce(array_agg(s.claim_token), '{}'))
  from pgflow.slots s left join pgflow.workers w on w.worker_id = s.worker_id
  where w.worker_id is null and s.worker_id is not null or (w.stopped_at is not null and w.lease is not null)
    or (w.lease is null and (
      select true from pgflow.step_tasks t where t.message_id = s.message_id and t.claim_token = s.claim_token limit 1) is null);
$$;

-- A server that was down gives every lease its full length again: nobody could beat meanwhile.
create or replace function pgflow.end_lapsed_workers(at timestamptz) returns void
language sql as $$
  with lapsed as (
    select w.worker_id from pgflow.workers w
    where w.stopped_at is null
      and greatest(w.last_heartbeat_at, least(pg_postmaster_start_time(), at)) + w.lease < at
    order by w.worker_id for update skip locked
  )
  update pgflow.workers w set stopped_at = at from lapsed l where w.worker_id = l.worker_id;
$$;

-- Running tasks whose worker is gone (lost), or that are past their timeout by more than a margin. A foreign worker has no
-- lease and nobody stops its bodies, so of one that is past its timeout we only know that it does not answer: it is lost. One
-- that says it stopped may still end what it has in hand.
create or replace function pgflow.stalled_tasks(at timestamptz, margin interval)
returns table (message_id bigint, claim_token bigint, step_slug text, requeued_count int, max_crashes int, timeout int, lost boolean)
language sql stable as $$
  select t.message_id, t.claim_token, t.step_slug, t.requeued_count, f.opt_max_crashes, d.timeout, g.lost
  from pgflow.step_tasks t
  join pgflow.flows f on f.flow_slug = any (array[t.flow_slug])
  join pgflow.steps s on s.version_id = any (array[t.version_id]) and s.step_slug = t.step_slug
  left join pgflow.workers w on w.worker_id = any (array[t.last_worker_id])
  cross join lateral (select coalesce(s.opt_timeout, f.opt_timeout) as timeout) d
  cross join lateral (select t.started_at + make_interval(secs => d.timeout) + margin < at as overdue) o
  cross join lateral (
    select t.last_worker_id is not null and (w.worker_id is null or w.stopped_at is not null and w.lease is not null)
      or o.overdue and w.lease is null as lost) g
  where t.stage = 'running' and (g.lost or o.overdue);
$$;

-- The first time at once; a task that lost workers before waits 2, 4, … seconds, so that what kills
-- workers meets fewer innocent neighbours. A foreign worker's has waited for its timeout already.
create or replace function pgflow.requeue_lost(at timestamptz, margin interval) returns int
language sql as $$
  with lost as (
    select t.message_id, t.started_at, t.last_worker_id, t.requeued_count = 0 or coalesce((
      select w.lease is null from pgflow.workers w where w.worker_id = t.last_worker_id), t.last_worker_id is null) as at_once
    from pgflow.stalled_tasks(at, margin) l
    cross join lateral (
      select t.message_id, t.started_at, t.last_worker_id, t.requeued_count from pgflow.step_tasks t
      where t.message_id = l.message_id and t.claim_token = l.claim_token
      for update skip locked) t
    where l.lost and l.requeued_count < l.max_crashes    -- others were failed, or their runs are held: then the next time
  ), requeued as (
    update pgflow.step_tasks t
    set stage = case when l.at_once then 'ready' else 'delayed' end, status = 'queued', claim_token = null,
        ready_at = case when l.at_once then least(t.ready_at, at)
          else at + make_interval(secs => power(2, least(t.requeued_count, 10))) end,
        attempts_count = t.attempts_count - 1, started_at = null, last_worker_id = null,
        requeued_count = t.requeued_count + 1, last_requeued_at = at
    from lost l where t.message_id = any (array[l.message_id])
    returning t.run_id, t.step_slug, t.task_index, t.attempts_count + 1 as attempt, l.last_worker_id, l.started_at
  ), logged as (
    insert into pgflow.attempts (run_id, step_slug, task_index, attempt, error_type, error_message, worker_id, started_at, failed_at)
    select r.run_id, r.step_slug, r.task_index, r.attempt, 'WorkerLost', 'the worker was lost while it ran this task',
      r.last_worker_id, r.started_at, at from requeued r
  )
  select count(*)::int from requeued;
$$;
