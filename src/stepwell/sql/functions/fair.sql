-- FAIR: a queue shared among fairness keys. Each task of a key costs it 1 / weight of virtual time; of equal priority, who is
-- furthest behind is next. A key that was idle starts where the queue is: it saved nothing up, and owes nothing.
-- Locks: tasks, then the queue's row without waiting, then shares by key.

create or replace function pgflow.pick_fairly(lane_queues text[], lane_versions int[], want int) returns bigint[]
language plpgsql as $$
declare
  ids bigint[];
  keys text[];
  queues text[];
  starts float8[];
  ends float8[];
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
    select greatest(1, 10 * want / greatest(count(*), 1))::int as most from key k where k.name is not null
  ), head as (
    select k.queue, k.version_id, k.name, t.message_id, t.priority, t.ready_at, 1 / coalesce(t.fairness_weight, 1) as cost
    from key k cross join lateral (
      select t.message_id, t.priority, t.ready_at, t.fairness_weight from pgflow.step_tasks t
      where t.queue = k.queue and t.version_id = k.version_id and t.stage = 'ready' and t.fairness_key = k.name
      order by t.queue, t.version_id, t.fairness_key, t.priority, t.ready_at, t.message_id
      limit least(want, (select w.most from width w))) t
    where k.name is not null
  ), tagged as (
    select h.*, greatest(coalesce(s.served, 0), coalesce(f.virtual_time, 0)) + sum(h.cost) over (
        partition by h.queue, h.name order by h.priority, h.ready_at, h.message_id) as ends_at
    from head h
    left join pgflow.fair_queues f on f.queue = h.queue
    left join pgflow.shares s on s.queue = h.queue and s.fairness_key = h.name
  ), chosen as (
    select t.* from tagged t order by t.priority, t.ends_at - t.cost, t.ready_at, t.message_id limit want
  ), locked as (
    select c.*, row_number() over (order by c.priority, c.ends_at - c.cost, c.ready_at, c.message_id) as place
    from chosen c cross join lateral (
      select from pgflow.step_tasks t where t.message_id = c.message_id and t.stage = 'ready' for update skip locked) t
  ), total as (
    select l.queue, l.name, min(l.ends_at - l.cost) as starts_at, max(l.ends_at) as ends_at from locked l group by l.queue, l.name
  )
  select coalesce((select array_agg(l.message_id order by l.place) from locked l), '{}'),
    array_agg(t.queue order by t.queue, t.name), array_agg(t.name order by t.queue, t.name),
    array_agg(t.starts_at order by t.queue, t.name), array_agg(t.ends_at order by t.queue, t.name)
  into ids, queues, keys, starts, ends
  from total t;

  update pgflow.fair_queues f set virtual_time = s.starts_at
  from (
    select u.queue, max(u.starts_at) as starts_at from unnest(queues, starts) u (queue, starts_at) group by u.queue
  ) s
  where f.queue = s.queue and s.starts_at > f.virtual_time
    and exists (select from pgflow.fair_queues l where l.queue = s.queue for update skip locked);
  insert into pgflow.shares as s (queue, fairness_key, served)
  select u.queue, u.name, u.ends_at from unnest(queues, keys, ends) u (queue, name, ends_at)
  where exists (select from pgflow.fair_queues f where f.queue = u.queue)
  order by u.queue, u.name
  on conflict (queue, fairness_key) do update set served = greatest(s.served, excluded.served);
  return ids;
end
$$;

-- Keys that are no further than their queue need no row: a key without one starts there.
create or replace function pgflow.forget_shares() returns void
language sql as $$
  delete from pgflow.shares s using pgflow.fair_queues f
  where f.queue = s.queue and s.served < f.virtual_time;
$$;
