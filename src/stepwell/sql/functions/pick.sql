-- PICK: which tasks a claim looks at, locked; those of lanes that nobody paused and whose caps have room. What another
-- transaction holds is left alone.

-- The ids that a claim takes, locked. One lane: its head. Several: first, without locks, how many of the most
-- urgent tasks lie in each lane, then that many of each; so no lane locks more than it gives. `limited`: some of
-- them have limits to be asked about; `shared`: among fairness keys, and there may be more.
create or replace function pgflow.pick_tasks(
  lane_queues text[], lane_versions int[], want int, out ids bigint[], out limited boolean, out shared boolean
) language plpgsql as $$
declare
  lanes record;
begin
  if cardinality(lane_queues) >= 64 then     -- asking first costs less
    lanes := pgflow.lanes_with_work(lane_queues, lane_versions);
    lane_queues := lanes.queues;
    lane_versions := lanes.versions;
  end if;
  if exists (select from pgflow.pauses) or exists (select from pgflow.limits l where l.kind = any (array['flow', 'queue']))
    or exists (select from pgflow.fair_queues f where f.queue = any (lane_queues))
  then
    lanes := pgflow.open_lanes(lane_queues, lane_versions);
    if lanes.fair then
      select p.ids, p.found_some, true into ids, shared, limited from pgflow.pick_fairly(lanes.queues, lanes.versions, want) p;
      return;
    end if;
    lane_queues := lanes.queues;
    lane_versions := lanes.versions;
    limited := lanes.capped;
  end if;
  if cardinality(lane_queues) = 1 then
    select coalesce(array_agg(p.message_id), '{}'), coalesce(bool_or(p.limited), false) or coalesce(pick_tasks.limited, false)
    into ids, limited from (
      select t.message_id, num_nonnulls(t.concurrency_key, t.rate_limit) > 0 as limited from pgflow.step_tasks t
      where t.queue = lane_queues[1] and t.version_id = lane_versions[1] and t.stage = 'ready' and t.fairness_key = ''
      order by t.queue, t.version_id, t.fairness_key, t.priority, t.ready_at, t.message_id
      limit want for update skip locked) p;
    return;
  end if;
  with urgent as (
    select l.queue, l.version_id
    from unnest(lane_queues, lane_versions) l (queue, version_id)
    cross join lateral (
      select t.priority, t.ready_at, t.message_id from pgflow.step_tasks t
      where t.queue = l.queue and t.version_id = l.version_id and t.stage = 'ready' and t.fairness_key = ''
      order by t.queue, t.version_id, t.fairness_key, t.priority, t.ready_at, t.message_id
      limit want) t
    order by t.priority, t.ready_at, t.message_id
    limit want
  ), quota as (
    select u.queue, u.version_id, count(*) as tasks from urgent u group by u.queue, u.version_id
  )
  select coalesce(array_agg(p.message_id), '{}'), coalesce(bool_or(p.limited), false) or coalesce(pick_tasks.limited, false)
  into ids, limited from quota q
  cross join lateral (
    select t.message_id, num_nonnulls(t.concurrency_key, t.rate_limit) > 0 as limited from pgflow.step_tasks t
    where t.queue = q.queue and t.version_id = q.version_id and t.stage = 'ready' and t.fairness_key = ''
    order by t.queue, t.version_id, t.fairness_key, t.priority, t.ready_at, t.message_id
    limit q.tasks for update skip locked) p;
end
$$;

-- Of many lanes, those in which something is ready: one step in the index for each lane of anybody that has something, so that old
-- versions and flows at rest cost nothing. Where these are too many it is all of ours. What becomes ready behind this look is
-- announced behind it too, as it is behind the look into the lanes.
create or replace function pgflow.lanes_with_work(lane_queues text[], lane_versions int[], out queues text[], out versions int[])
language plpgsql as $$
declare
  most constant int := cardinality(lane_queues) / 16;
  steps int;
begin
  with recursive found (step, queue, version_id) as (
    (select 1, t.queue, t.version_id from pgflow.step_tasks t where t.stage = 'ready' order by t.queue, t.version_id limit 1)
    union all
    select f.step + 1, t.queue, t.version_id
    from found f
    cross join lateral (
      select t.queue, t.version_id from pgflow.step_tasks t
      where t.stage = 'ready' and (t.queue, t.version_id) > (f.queue, f.version_id)
      order by t.queue, t.version_id limit 1) t
    where f.step <= most
  )
  select coalesce(max(f.step), 0), coalesce(array_agg(f.queue) filter (where o.is_ours), '{}'),
    coalesce(array_agg(f.version_id) filter (where o.is_ours), '{}')
  into steps, queues, versions
  from found f
  cross join lateral (
    select coalesce(bool_or(lane_queues[p.place] = f.queue), false) as is_ours
    from unnest(array_positions(lane_versions, f.version_id)) p (place)) o;
  if steps > most then
    queues := lane_queues;
    versions := lane_versions;
  end if;
end
$$;

-- The lanes that nobody paused and whose caps have room. `fair`: some of them share their queue among keys.
create or replace function pgflow.open_lanes(
  lane_queues text[], lane_versions int[],
  out queues text[], out versions int[], out capped boolean, out fair boolean
) language plpgsql as $$
begin
  select coalesce(array_agg(l.queue), '{}'), coalesce(array_agg(l.version_id), '{}'), coalesce(bool_or(c.capped), false),
    exists (select from pgflow.fair_queues f where f.queue = any (array_agg(l.queue)))
  into queues, versions, capped, fair
  from unnest(lane_queues, lane_versions) l (queue, version_id)
  join pgflow.versions v on v.version_id = any (array[l.version_id])
  cross join lateral (
    select coalesce(bool_or(true), false) as capped, coalesce(bool_or(g.held >= g.capacity), false) as full
    from (
      select i.capacity, (
        select count(*) from pgflow.slots s where s.gate = i.kind || '/' || i.name) as held
      from pgflow.limits i
      where (i.kind = 'queue' and i.name = l.queue) or (i.kind = 'flow' and i.name = v.flow_slug)) g) c
  where not c.full
    and not exists (select from pgflow.pauses p where p.kind = 'queue' and p.name = l.queue)
    and not exists (select from pgflow.pauses p where p.kind = 'flow' and p.name = v.flow_slug);
end
$$;
