-- TIMER: delayed tasks become ready when they are due: start delays, sleeps, retries, waits with a timeout, turns of a rate limit.
-- A task that waited for a signal or for children goes on without them.

-- Promote up to `most` due tasks; answer with the queues that have something to do now, how many were promoted,
-- and the seconds until the next is due (null: nothing is delayed).
create or replace function pgflow.promote_tasks(most int default 1000)
returns table (queues text[], promoted int, next_due float8)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
declare
  at constant timestamptz := pgflow.now();
begin
  with due as (
    select t.message_id from pgflow.step_tasks t
    where t.stage = 'delayed' and t.ready_at <= at
    order by t.ready_at limit most for update skip locked
  ), moved as (
    update pgflow.step_tasks t set stage = 'ready'
    from due d where t.message_id = any (array[d.message_id]) and t.stage || '' = 'delayed'
    returning t.queue
  )
  select coalesce(array_agg(distinct m.queue), '{}'), count(*) into queues, promoted from moved m;
  next_due := (
    select case when isfinite(t.ready_at) then greatest(extract(epoch from t.ready_at - at), 0) end from pgflow.step_tasks t
    where t.stage = 'delayed' order by t.ready_at limit 1);
  return next;
end
$$;
