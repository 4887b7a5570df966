-- SPAWN: runs that a run starts and waits for. A join counts them down; each child's end moves it in the transaction of that
-- end, whose caller holds the parent. Locks: runs by id (parents with their children), then joins, then tasks.

-- Start the children of tasks that are parked for them. Answers with the queues that have something to do.
create or replace function pgflow.spawn_children(entries pgflow.entry[], at timestamptz) returns text[]
language plpgsql as $$
declare
  e pgflow.entry;
  kin record;
  taken record;
  new_join bigint;
  said jsonb;
  woken text[] := '{}';
begin
  foreach e in array entries loop
    insert into pgflow.joins (run_id, message_id, total, pending, quorum, policy)
    values (e.run_id, e.message_id, 0, 0, (e.output ->> 'quorum')::int, coalesce(e.output ->> 'policy', 'wait'))
    returning join_id into new_join;
    update pgflow.step_tasks t set join_id = new_join where t.message_id = e.message_id;
    -- the trace of the attempt that spawned; where its worker does not trace, that of the run
    said := jsonb_strip_nulls(jsonb_build_object('parent', e.run_id, 'join', new_join, 'trace', coalesce(
      e.output -> 'trace', (select r.trace from pgflow.runs r where r.run_id = e.run_id))));
    for kin in
      select c.child ->> 'slug' as slug, c.child ->> 'version' as version,
        array_agg(coalesce(c.child -> 'input', 'null') order by c.place) as inputs,
        array_agg((c.child ->> 'id')::uuid order by c.place) as ids, array_agg(c.child ->> 'key' order by c.place) as keys,
        array_agg((c.child - 'input') || said order by c.place) as options
      from jsonb_array_elements(e.output -> 'children') with ordinality c (child, place)
      group by 1, 2 order by 1, 2
    loop
      select r.run_id, kin.keys[r.position] as key into taken
      from pgflow.start_runs(kin.slug, kin.inputs, kin.ids, kin.keys, null, kin.options) r where not r.created limit 1;
      if found then
        perform pgflow.raise('PF409', format('a child cannot have the key %L: run %s has it', taken.key, taken.run_id),
          'Give it another key, or wait for that run.');
      end if;
      woken := woken || pgflow.queues_of(kin.ids);
    end loop;
    update pgflow.joins j
    set total = c.total, pending = c.pending, completed = c.completed, failed = c.total - c.pending - c.completed,
        quorum = case when j.quorum is not null then least(j.quorum, c.total) end    -- least forgets nulls
    from (
      select count(*) as total, count(*) filter (where r.status = 'started') as pending,
        count(*) filter (where r.status = 'completed') as completed
      from pgflow.runs r where r.join_id = new_join) c
    where j.join_id = new_join;
    woken := woken || pgflow.finish_joins(array[new_join], at);
  end loop;
  return woken;
end
$$;

-- A flow's step that spawns: it waits, uncounted, and is claimed again when the join is over.
create or replace function pgflow.spawn_from_steps(
  entries pgflow.entry[], at timestamptz, out written bigint[], out woken text[]
) language plpgsql as $$
begin
  with parked as (
    update pgflow.step_tasks t
    set stage = case when e.output ->> 'deadline' is null then 'parked' else 'delayed' end, status = 'queued', claim_token = null,
        attempts_count = 0, started_at = null, waiting = true,
        ready_at = case when e.output ->> 'deadline' is null then 'infinity'
          else at + make_interval(secs => (e.output ->> 'deadline')::float8) end
    from unnest(entries) e
    where t.message_id = any (array[e.message_id]) and t.claim_token = e.claim_token
    returning e.claim_token
  )
  select coalesce(array_agg(p.claim_token), '{}') into written from parked p;
  woken := pgflow.spawn_children(pgflow.entries_written(entries, written), at);
end
$$;

-- Where new runs have their first tasks.
create or replace function pgflow.queues_of(run_ids uuid[]) returns text[]
language sql stable as $$
  select coalesce(array_agg(distinct t.queue), '{}') from pgflow.step_tasks t where t.run_id = any (run_ids);
$$;

-- Of these joins, those that are over let their parents go on: all children ended, enough completed or no longer possible, or
-- one failed where that is reason enough.
create or replace function pgflow.finish_joins(join_ids bigint[], at timestamptz) returns text[]
language plpgsql as $$
declare
  queues text[];
begin
  with over as (
    update pgflow.joins j set open = false
    where j.join_id = any (join_ids) and j.open and pgflow.is_over(j.policy, j.quorum, j.pending, j.completed, j.failed)
    returning j.message_id, j.join_id
  ), woken as (
    update pgflow.step_tasks t set stage = 'ready', ready_at = at, waiting = false
    from over o
    where t.message_id = any (array[o.message_id]) and t.join_id = o.join_id and t.waiting
      and t.stage || '' in ('parked', 'delayed')
    returning t.queue
  )
  select coalesce(array_agg(distinct w.queue), '{}') into queues from woken w;
  return queues;
end
$$;

-- All ended, enough completed, too few are left, or one failed where that is reason enough.
create or replace function pgflow.is_over(policy text, quorum int, pending int, completed int, failed int) returns boolean
language sql immutable
return pending = 0 or coalesce(completed >= quorum or completed + pending < quorum, false)
  or (policy = any (array['wake', 'fail']) and failed > 0);

-- What a commit's runs that ended still owe to others.
create or replace function pgflow.after_ends(locked uuid[], at timestamptz) returns text[]
language plpgsql as $$
declare
  ended constant uuid[] := array(
    select r.run_id from pgflow.runs r
    where r.run_id = any (locked) and r.status || '' <> 'started'
      and (r.key_guard is not null or r.join_id is not null
        -- as a subquery with a limit, which the planner cannot turn into a walk over all runs
        or (select true from pgflow.runs c where c.parent_run_id = r.run_id and c.status || '' = 'started' limit 1)));
begin
  return case when ended = '{}' then '{}' else pgflow.end_runs(ended, at) end;
end
$$;

-- Runs that ended, in this transaction: their keys are free, their parents hear of it, and the children that are to end with
-- them are left to a chore (end_orphans). Answers with the queues that have something to do.
create or replace function pgflow.end_runs(ended uuid[], at timestamptz) returns text[]
language plpgsql as $$
declare
  join_ids bigint[];
begin
  perform from pgflow.runs p
  where p.run_id in (select r.parent_run_id from pgflow.runs r where r.run_id = any (ended) and r.join_id is not null)
  order by p.run_id for no key update;
  perform pgflow.free_keys(ended, at);
  insert into pgflow.orphans (parent_run_id)
  select r from unnest(ended) r
  where (
    select true from pgflow.runs c
    where c.parent_run_id = r and c.status || '' = 'started' and c.on_parent_end = 'cancel' limit 1)
  order by r on conflict do nothing;
  with told as (
    update pgflow.joins j
    set pending = j.pending - c.ended, completed = j.completed + c.completed, failed = j.failed + c.ended - c.completed
    from (
      select r.join_id, count(*) as ended, count(*) filter (where r.status = 'completed') as completed
      from pgflow.runs r where r.run_id = any (ended) and r.join_id is not null group by r.join_id) c
    where j.join_id = any (array[c.join_id])
    returning j.join_id
  )
  select array_agg(t.join_id) into join_ids from told t;
  return case when join_ids is null then '{}' else pgflow.finish_joins(join_ids, at) end;
end
$$;

-- The keys of those of these runs that have ended are free, unless they were to be kept.
create or replace function pgflow.free_keys(runs uuid[], at timestamptz) returns void
language sql as $$
  update pgflow.runs r set key_guard = null
  where r.run_id = any (runs) and r.key_guard is not null and r.status || '' <> 'started'
    and coalesce(r.key_until, '-infinity') <= at;
$$;

-- Cancel the children that were to end with their parent, a few parents at a time. Whose children somebody holds is left for
-- the next time. Locks: orphans that nobody holds; then as cancel_run, waiting for no lock long enough to wait in a circle.
create or replace function pgflow.end_orphans(most int default 100) returns int
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set lock_timeout = '20ms' as $$
declare
  parent uuid;
  children uuid[];
  cancelled int := 0;
begin
  for parent in
    select o.parent_run_id from pgflow.orphans o order by o.parent_run_id limit most for update skip locked
  loop
    begin
      if not exists (select from pgflow.runs r where r.run_id = parent and r.status = 'started') then  -- else a retry brought it back
        children := array(
          select r.run_id from pgflow.runs r
          where r.parent_run_id = parent and r.status || '' = 'started' and r.on_parent_end = 'cancel');
        perform pgflow.lock_trees(children);
        if not exists (select from pgflow.runs r where r.run_id = parent and r.status = 'started') then
          cancelled := cancelled + cardinality(pgflow.cancel_runs(children, 'its parent run ended', 'stepwell'));
        end if;
      end if;
      delete from pgflow.orphans o where o.parent_run_id = parent;
    exception when lock_not_available or deadlock_detected then
      null;
    end;
  end loop;
  return cancelled;
end
$$;
