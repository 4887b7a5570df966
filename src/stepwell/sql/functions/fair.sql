-- FAIR: a queue shared among fairness keys. Each task of a key costs it 1 / weight of virtual time; of equal priority, who is
-- furthest behind is next. A key that was idle starts where the queue is: it saved nothing up, and owes nothing.
-- Locks: tasks, then shares by key, then the queue's row without waiting.

-- `found_some`: there are ready tasks, in our hands or in others'.
create or replace function pgflow.pick_fairly(
  lane_queues text[], lane_versions int[], want int, out ids bigint[], out found_some boolean
) language plpgsql as $$
begin
  with recursive key as (                    -- the keys that have something ready, by skipping from one to the next
    select l.queue, l.version_id, (
      select t.fairness_key from pgflow.step_tasks t
      where t.queue = l.queue and t.version_id = l.version_id and t.stage = 'ready'
      order by t.queue, t.version_id, t.fairness_key limit 1) as name
    from unnest(lane_queues, lane_versions) l (queue, version_id)
    union all
    select k.queue, k.version_id, (
      select t.fairness_key from pgflow.step_tasks t
      where t.queue = k.queue and t.version_id = k.version_id and t.stage = 'ready' and t.fairness_key > k.name
      order by t.queue, t.version_id, t.fairness_key limit 1)
    from key k where k.name is not null
  ), width as (                              -- of many keys each can have a few turns only
    select greatest(1, 20 * want / greatest(count(*), 1))::int as most from key k where k.name is not null
  ), head as (
    select k.queue, k.version_id, k.name, t.message_id, t.priority, t.ready_at, pgflow.share_of(t.fairness_weight) as cost
    from key k cross join lateral (
      select t.message_id, t.priority, t.ready_at, t.fairness_weight from pgflow.step_tasks t
      where t.queue = k.queue and t.version_id = k.version_id and t.stage = 'ready' and t.fairness_key = k.name
      order by t.queue, t.version_id, t.fairness_key, t.priority, t.ready_at, t.message_id
      limit least(4 * want, (select w.most from width w))) t
    where k.name is not null
  ), tagged as (
    select h.*, greatest(coalesce(s.served, 0), coalesce(f.virtual_time, 0)) + sum(h.cost) over (
        partition by h.queue, h.name order by h.priority, h.ready_at, h.message_id) - h.cost as starts_at
    from head h
    left join pgflow.fair_queues f on f.queue = h.queue
    left join pgflow.shares s on s.queue = h.queue and s.fairness_key = h.name
  ), chosen as materialized (                -- more than wanted: others may have some of them in hand
    select t.* from tagged t order by t.priority, t.starts_at, t.ready_at, t.message_id limit 4 * want
  ), locked as (
    select c.message_id
    from chosen c cross join lateral (
      select from pgflow.step_tasks t where t.message_id = c.message_id and t.stage || '' = 'ready' for update skip locked) t
    limit want
  )
  select coalesce((select array_agg(l.message_id) from locked l), '{}'), exists (select from chosen c) into ids, found_some;
end
$$;

-- What one task costs its key.
create or replace function pgflow.share_of(weight real) returns float8
language sql immutable
begin atomic
  select 1 / greatest(coalesce(weight, 1)::float8, 0.001);
end;

-- Tasks that were taken: their keys have had their share of the queue, which is where the furthest of them began.
create or replace function pgflow.charge_shares(taken bigint[]) returns void
language plpgsql as $$
declare
  queues text[];
  keys text[];
  costs float8[];
  starts float8[];
begin
  select array_agg(u.queue), array_agg(u.fairness_key), array_agg(u.cost) into queues, keys, costs
  from (
    select t.queue, t.fairness_key, sum(pgflow.share_of(t.fairness_weight)) as cost
    from unnest(taken) i
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
    join pgflow.fair_queues f on f.queue = t.queue
    group by t.queue, t.fairness_key order by t.queue, t.fairness_key) u;
  insert into pgflow.shares as s (queue, fairness_key, served)
  select u.queue, u.fairness_key, 0 from unnest(queues, keys) u (queue, fairness_key) order by 1, 2
  on conflict (queue, fairness_key) do update set served = s.served;       -- made or there: locked
  with charged as (
    update pgflow.shares s set served = greatest(s.served, f.virtual_time) + u.cost
    from unnest(queues, keys, costs) u (queue, fairness_key, cost) join pgflow.fair_queues f on f.queue = u.queue
    where s.queue = u.queue and s.fairness_key = u.fairness_key
    returning s.queue, s.served - u.cost as starts_at
  )
  select array_agg(c.queue), array_agg(c.starts_at) into queues, starts from charged c;
  update pgflow.fair_queues f set virtual_time = b.starts_at
  from (select u.queue, max(u.starts_at) as starts_at from unnest(queues, starts) u (queue, starts_at) group by u.queue) b
  where f.queue = b.queue and b.starts_at > f.virtual_time
    and exists (select from pgflow.fair_queues l where l.queue = b.queue for update skip locked);
end
$$;

-- Keys that are no further than their queue need no row: a key without one starts there. The same goes for rates that have
-- earned back all that was spent.
create or replace function pgflow.forget_shares() returns void
language sql as $$
  delete from pgflow.shares s using pgflow.fair_queues f
  where f.queue = s.queue and s.served < f.virtual_time;
  delete from pgflow.buckets b where b.spent_until < pgflow.now() - interval '1 hour';
$$;
