-- EXPLAIN, lanes: who would take on what is ready. A lane is a queue and a version. Nothing here writes or locks.

create or replace function pgflow.explain_lanes(run pgflow.runs, ids bigint[], at timestamptz) returns setof pgflow.reason
language sql stable as $$
  with lane as (
    select t.queue, t.version_id, t.step_slug, count(*)::int as tasks, (count(*) filter (where t.stage = 'ready'))::int as ready,
      min(t.ready_at) filter (where t.stage = 'ready') as since,
      (array_agg(t.message_id order by t.priority, t.ready_at, t.message_id) filter (where t.stage = 'ready'))[1] as first
    from unnest(ids) i
    join pgflow.step_tasks t on t.message_id = any (array[i]) and t.stage || '' in ('ready', 'delayed', 'blocked')
    where not t.waiting
    group by t.queue, t.version_id, t.step_slug
  ), pause as (
    select l.*, p.kind, p.name, p.paused_at, p.reason as why from lane l join pgflow.pauses p
    on (p.kind = 'queue' and p.name = l.queue) or (p.kind = 'flow' and p.name = run.flow_slug)
  )
  select p.kind || '_paused', 'waiting', p.step_slug, p.tasks, p.paused_at, null::timestamptz,
    concat(pgflow.tasks_text(run.kind, p.step_slug, p.tasks), case when p.kind = 'queue' then ': queue ' else ': ' end, p.name, ' was paused ',
      pgflow.duration_text(at - p.paused_at), ' ago', ' (' || p.why || ')'),
    format('stepwell %ss resume %s', p.kind, pgflow.shell_word(p.name)), jsonb_strip_nulls(jsonb_build_object('name', p.name, 'why', p.why))
  from pause p
  union all
  select coalesce(v.reason, case when o.busy then 'workers_busy' when o.before > 0 then 'in_line'
      when l.since < at - interval '15 seconds' then 'not_taken' else 'ready' end),
    case when v.reason is not null then 'stuck' else 'moving' end, l.step_slug, l.tasks, l.since, null,
    concat(pgflow.tasks_text(run.kind, l.step_slug, l.tasks), ': ', coalesce(v.said,
      case when o.busy then format(case when cardinality(o.workers) = 1 then '%s, which serves queue %s, has its hands full'
          else '%s, which serve queue %s, have their hands full' end, array_to_string(o.workers[1:5], ', '), l.queue)
        when o.before = 0 and l.since < at - interval '15 seconds' then format('ready for %s, and %s, with free hands, did not take it on from queue '
          '%s: perhaps fairness keys share the queue, or the worker runs as many of %s as its flow_concurrency lets it',
          pgflow.duration_text(at - l.since), array_to_string(o.workers[1:5], ', '), l.queue, run.flow_slug)
        else format('a worker takes it on at its next look at queue %s', l.queue) end
      || case when o.before > 0 then format('; %s tasks are before it', case when o.before < 10000 then o.before::text else '10000 or more' end) else '' end)),
    v.remedy, jsonb_strip_nulls(jsonb_build_object('queue', l.queue, 'before', o.before, 'workers', coalesce(v.workers, o.workers)))
  from lane l
  cross join lateral pgflow.service_of(l.queue, l.version_id) v
  left join lateral pgflow.standing_of(l.first) o on l.first is not null and v.reason is null
  where (v.reason is not null or l.first is not null and o.open) and not exists (
    select from pause p where (p.queue, p.step_slug) = (l.queue, l.step_slug));
$$;

-- Who would take on what is in a lane; `reason` null: a healthy worker does.
create or replace function pgflow.service_of(
  queue text, version int, out reason text, out said text, out remedy text, out workers text[]
) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  known record;
  lane record;
begin
  select v.flow_slug, v.version into lane from pgflow.versions v where v.version_id = service_of.version;
  with worker as (
    select w.function_name as name, pgflow.is_beating(w) as beats, w.deprecated_at is not null as draining,
      service_of.queue = any (string_to_array(w.queue_name, ',') || coalesce(w.lane_queues, '{}')) as serves, w.lane_versions is null or exists (
        select from unnest(w.lane_queues, w.lane_versions) l (queue, version)
        where l.queue = service_of.queue and l.version = service_of.version) as has_code,
      extract(epoch from pgflow.now() - w.last_heartbeat_at) as silent
    from pgflow.workers w where w.stopped_at is null
  )
  select count(*) filter (where w.beats) as beating,
    count(*) filter (where w.serves and w.has_code and w.beats and not w.draining) as serving,
    array_agg(distinct w.name) filter (where w.serves and w.has_code and w.beats and w.draining) as draining,
    array_agg(distinct w.name) filter (where w.serves and w.has_code and not w.beats) as silent,
    min(w.silent) filter (where w.serves and w.has_code and not w.beats) as silence,
    array_agg(distinct w.name) filter (where w.serves and not w.has_code and w.beats) as without,
    array_agg(distinct w.name) filter (where w.beats) as others
  into known from worker w;
  if known.serving > 0 then
    return;
  end if;
  remedy := pgflow.start_a_worker();
  if known.draining is not null then
    reason := 'workers_drain';
    workers := known.draining;
    said := format('who serves queue %s takes nothing new, because it was told to go: %s', queue, array_to_string(workers, ', '));
  elsif known.silent is not null then
    reason := 'workers_silent';
    workers := known.silent;
    said := format('who serves queue %s was not heard of for %s: %s', queue, pgflow.duration_text(make_interval(secs => known.silence)),
      array_to_string(workers, ', '));
  elsif known.without is not null then
    reason := 'no_code';
    workers := known.without;
    said := format('no worker has the code of version %s of %s; queue %s is served, but of other versions, by %s', lane.version, lane.flow_slug,
      queue, array_to_string(workers, ', '));
    remedy := 'start a worker with the code that made this version; stepwell check-deploy module:app lists what the new code cannot end';
  elsif known.beating > 0 then
    reason := 'queue_not_served';
    workers := known.others;
    said := format('no worker serves queue %s; those that are there serve others: %s', queue, array_to_string(workers, ', '));
    remedy := format('%s, with %s in it and, if --queues says which, queue %s', remedy, lane.flow_slug, pgflow.shell_word(queue));
  else
    reason := 'no_worker';
    said := 'no worker is there';
  end if;
end
$$;

-- Where a ready task stands: whether the caps of its lane have room, who serves it and if all their hands are full, and how many are
-- before it (counted up to 10,000).
create or replace function pgflow.standing_of(message_id bigint, out open boolean, out busy boolean, out workers text[], out before int)
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
  t pgflow.step_tasks;
begin
  select * into t from pgflow.step_tasks s where s.message_id = standing_of.message_id;
  open := not exists (
    select from pgflow.limits l
    where (l.kind = 'queue' and l.name = t.queue or l.kind = 'flow' and l.name = t.flow_slug)
      and (select count(*) from pgflow.slots s where s.gate = l.kind || '/' || l.name) >= l.capacity)
    and (t.concurrency_key is null
      or (select count(*) from pgflow.slots s where s.gate = t.concurrency_key) < pgflow.capacity_of(t.concurrency_key));
  -- who does not say how much it runs at once may have a hand free
  select array_agg(w.function_name), coalesce(bool_and(coalesce(w.concurrency <= (
    select count(*) from pgflow.step_tasks r where r.last_worker_id = w.worker_id and r.stage = 'running'), false)), false)
  into workers, busy
  from pgflow.workers w
  where w.stopped_at is null and w.deprecated_at is null and pgflow.is_beating(w) and case when w.lane_versions is null
    then t.queue = any (string_to_array(w.queue_name, ','))
    else exists (
      select from unnest(w.lane_queues, w.lane_versions) l (queue, version)
      where l.queue = t.queue and l.version = t.version_id) end;
  select count(*)::int into before from (
    select from pgflow.step_tasks o
    where o.queue = t.queue and o.version_id = t.version_id and o.stage = 'ready' and o.fairness_key = t.fairness_key
      and (o.priority, o.ready_at, o.message_id) < (t.priority, t.ready_at, t.message_id)
    order by o.queue, o.version_id, o.fairness_key, o.priority, o.ready_at, o.message_id limit 10000) o;
end
$$;

-- Whether a worker's lease is good, as reclaim_tasks sees it; one without a lease is believed for half a minute.
create or replace function pgflow.is_beating(worker pgflow.workers) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
  select worker.worker_id is not null and worker.stopped_at is null and case when worker.lease is null
    then pgflow.health_of(worker) = 'healthy'
    else greatest(worker.last_heartbeat_at, least(pg_postmaster_start_time(), pgflow.now())) + worker.lease >= pgflow.now() end;
$$;

-- Whether a worker is there that does the chores: wakes who is due, takes back what others lost.
create or replace function pgflow.is_swept() returns boolean
language sql stable as $$
  select exists (
    select from pgflow.workers w where w.stopped_at is null and w.lease is not null and pgflow.is_beating(w));
$$;

create or replace function pgflow.start_a_worker() returns text
language sql immutable as $$
  select 'start one: stepwell worker module:app';
$$;
