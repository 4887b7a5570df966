-- FLOW MESSAGES: the tasks of a flow as messages of a pgmq queue, for workers that were written for pgflow. A task that is
-- ready or delayed is a message that is, or will be, visible; a running one is hidden until its timeout is over; one that is
-- blocked or paused for ever. A step that waits for a signal or for children is none until it is woken.
-- Locks: tasks, without waiting where a queue is read; then the runs of paused ones without waiting, then shares.

-- Up to `most` of the flow's tasks that are ready or due, hidden from every other worker for so many seconds: delayed until
-- then. Of others' tasks nothing is touched: a reader that polls holds its locks until it has something.
create or replace function pgflow.read_tasks(slug text, seconds int, most int, wanted jsonb default '{}')
returns table (msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
declare
  at constant timestamptz := pgflow.now();
  picked constant record := pgflow.pick_messages(slug, most, coalesce(wanted, '{}'), at);
  taken bigint[];
begin
  with hidden as (
    update pgflow.step_tasks t
    set stage = case when seconds > 0 then 'delayed' else 'ready' end, ready_at = at + make_interval(secs => seconds),
        read_ct = t.read_ct + 1
    from unnest(picked.ids) i
    where t.message_id = any (array[i]) and t.stage || '' in ('ready', 'delayed')
      and (select r.paused_at from pgflow.runs r where r.run_id = t.run_id) is null
    returning t.message_id
  )
  select coalesce(array_agg(h.message_id), '{}') into taken from hidden h;
  perform pgflow.put_aside(picked.ids, taken, '{}');
  if picked.shared then
    perform pgflow.charge_shares(taken);
  end if;
  return query select * from pgflow.messages_of(taken);
end
$$;

-- Tasks of a flow, locked, of lanes that are open: what is due first, as it has waited, then ready ones as a claim picks them.
-- With a pattern, those whose message contains it.
create or replace function pgflow.pick_messages(
  slug text, most int, wanted jsonb, at timestamptz, out ids bigint[], out shared boolean
) language plpgsql as $$
declare
  queues text[];
  versions int[];
  ready bigint[];
begin
  select array_agg(coalesce(v.queue, v.flow_slug) order by v.version_id), array_agg(v.version_id order by v.version_id)
  into queues, versions from pgflow.versions v where v.flow_slug = slug;
  if exists (select from pgflow.pauses) or exists (select from pgflow.limits l where l.kind = any (array['flow', 'queue'])) then
    select o.queues, o.versions into queues, versions from pgflow.open_lanes(queues, versions) o;
  end if;
  ids := array(
    select t.message_id from pgflow.step_tasks t
    where t.stage = 'delayed' and t.ready_at <= at and t.flow_slug = slug and not t.waiting
      and (wanted = '{}' or pgflow.message_of(t.flow_slug, t.run_id, t.step_slug, t.task_index) @> wanted)
      and exists (select from unnest(queues, versions) l (queue, version_id) where l.queue = t.queue and l.version_id = t.version_id)
      and (select r.paused_at from pgflow.runs r where r.run_id = t.run_id) is null
    order by t.ready_at limit most for update skip locked);
  if wanted <> '{}' then
    ready := array(
      select t.message_id
      from unnest(queues, versions) l (queue, version_id)
      cross join lateral (
        select t.message_id, t.priority, t.ready_at from pgflow.step_tasks t
        where t.queue = l.queue and t.version_id = l.version_id and t.stage = 'ready'
          and pgflow.message_of(t.flow_slug, t.run_id, t.step_slug, t.task_index) @> wanted
        order by t.queue, t.version_id, t.fairness_key, t.priority, t.ready_at, t.message_id
        limit most - cardinality(ids) for update skip locked) t
      order by t.priority, t.ready_at, t.message_id limit most - cardinality(ids));
  elsif most > cardinality(ids) and queues <> '{}' then
    select p.ids, p.shared into ready, shared from pgflow.pick_tasks(queues, versions, most - cardinality(ids)) p;
  end if;
  ids := ids || ready;
  shared := coalesce(shared, false);
end
$$;

-- (`stable`, as what it calls is: else it would be called and not inlined.)
create or replace function pgflow.message_of(flow_slug text, run_id uuid, step_slug text, task_index int) returns jsonb
language sql stable parallel safe as $$
  select jsonb_build_object('flow_slug', flow_slug, 'run_id', run_id, 'step_slug', step_slug, 'task_index', task_index);
$$;

-- Messages by their ids, in order.
create or replace function pgflow.messages_of(ids bigint[])
returns table (msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb)
language sql stable as $$
  select t.message_id, t.read_ct, t.queued_at, t.ready_at,
    pgflow.message_of(t.flow_slug, t.run_id, t.step_slug, t.task_index), null::jsonb
  from unnest(ids) i
  cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
  order by t.message_id;
$$;

-- Each of these messages is visible from its time on; those that are not ready or delayed, or in somebody's hands just now,
-- are left out. `reads`: their new read_ct.
create or replace function pgflow.hide_tasks(slug text, ids bigint[], times timestamptz[], reads int[] default null)
returns table (msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb, headers jsonb)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  moved bigint[];
begin
  with held as (
    select t.message_id, u.visible_at, u.reads
    from unnest(ids, times, reads) u (id, visible_at, reads)
    cross join lateral (
      select t.message_id from pgflow.step_tasks t
      where t.message_id = u.id and t.stage || '' in ('ready', 'delayed') and not t.waiting and t.flow_slug = slug
      for update skip locked) t
  ), hidden as (
    update pgflow.step_tasks t
    set stage = case when h.visible_at > at then 'delayed' else 'ready' end, ready_at = h.visible_at,
        read_ct = coalesce(h.reads, t.read_ct)
    from held h where t.message_id = any (array[h.message_id])
    returning t.message_id
  )
  select array_agg(h.message_id) into moved from hidden h;
  return query select * from pgflow.messages_of(moved);
end
$$;

-- What pgmq's archive and delete find of a flow: nothing to do. Who meant to end a task hears how.
create or replace function pgflow.keep_messages(slug text, ids bigint[], wish text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  open_id constant bigint := (
    select t.message_id from unnest(ids) i
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
    where t.flow_slug = slug and t.stage <> 'closed' order by 1 limit 1);
begin
  if open_id is not null then
    raise notice 'message % is an open task of flow %: it was not %d', open_id, slug, wish
      using hint = 'A message ends with its task: pgflow.complete_task(), pgflow.fail_task() or pgflow.cancel_run().';
  end if;
end
$$;

-- New tasks of flows whose queues are announced. The schema that does it may be gone meanwhile, or closed to this role.
create or replace function pgflow.announce_tasks(flow_slugs text[]) returns void
language plpgsql as $$
begin
  if has_schema_privilege(to_regnamespace('pgmq')::oid, 'usage') then
    if to_regprocedure('pgmq.announce(text[])') is not null then
      perform pgmq.announce(flow_slugs);
    end if;
  end if;
exception when insufficient_privilege then
  raise warning 'new tasks of % were not announced: %', flow_slugs, sqlerrm;
end
$$;

-- How many tasks of a flow are stored, open and closed.
create or replace function pgflow.count_tasks(slug text) returns bigint
language sql stable set search_path = pg_catalog, pg_temp as $$
  select count(*)
  from pgflow.runs r join pgflow.step_tasks t on t.run_id = r.run_id
  where r.flow_slug = slug;
$$;
