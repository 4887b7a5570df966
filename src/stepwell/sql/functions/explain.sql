-- EXPLAIN: why a run is not moving: who or what is in the way, since when, until when, and what to do about it. Nothing here
-- writes or locks. The lanes that its tasks are in: explain_lanes.sql.
--
-- A reason's state is 'stuck' until somebody does what the remedy says, 'waiting' for somebody or something that is named,
-- 'moving' by itself, or 'ended'.

-- What holds now, what is worst first. Of a run with more open tasks than `most` some are looked at, and of many gates or joins the 20
-- with most tasks are told. PF404: there is no such run.
create or replace function pgflow.explain_run(run_id uuid, most int default 1000) returns setof pgflow.reason
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  run pgflow.runs;
  ids bigint[];
begin
  select * into run from pgflow.runs r where r.run_id = explain_run.run_id;
  if not found then
    perform pgflow.raise('PF404', format('no run %s', explain_run.run_id));
  end if;
  if run.status <> 'started' then
    return query select * from pgflow.explain_end(run, at);
    return;
  end if;
  ids := array(select t.message_id from pgflow.step_tasks t where t.run_id = run.run_id and t.stage <> 'closed' limit most);
  return query
  select e.* from (
    select * from pgflow.explain_pause(run, at)
    union all select * from pgflow.explain_running(run, ids, at)
    union all select * from pgflow.explain_waiting(run, ids, at)
    union all select * from pgflow.explain_delayed(run, ids, at)
    union all select * from pgflow.explain_gates(run, ids, at)
    union all select * from pgflow.explain_lanes(run, ids, at)
    union all select * from pgflow.explain_broken(run, ids)
  ) e
  order by array_position(array['stuck', 'waiting', 'moving'], e.state), e.reason like '%paused' desc, e.since, e.step_slug, e.reason;
end
$$;

create or replace function pgflow.explain_end(run pgflow.runs, at timestamptz) returns setof pgflow.reason
language sql stable as $$
  select run.status, 'ended', run.failed_step, 0, e.at, null::timestamptz,
    concat('the run ', case run.status when 'cancelled' then 'was cancelled' else run.status end, ' ',
      pgflow.duration_text(explain_end.at - e.at), ' ago',
      case when run.failed_step is not null and run.kind <> 'job' then ' at step ' || run.failed_step end,
      case when run.status <> 'completed' then ': ' || run.error_message end),
    case when run.status <> 'completed' then format('stepwell runs show %1$s --attempts; to let it go on: stepwell runs retry %1$s', run.run_id) end,
    '{}'::jsonb
  from (select coalesce(run.completed_at, run.failed_at, run.cancelled_at) as at) e;
$$;

create or replace function pgflow.explain_pause(run pgflow.runs, at timestamptz) returns setof pgflow.reason
language sql stable as $$
  select 'run_paused', 'waiting', null::text, 0, run.paused_at, null::timestamptz,
    concat('the run was paused ', pgflow.duration_text(explain_pause.at - run.paused_at), ' ago', ' by ' || a.actor,
      ': nothing more of it begins'),
    format('stepwell runs resume %s', run.run_id), jsonb_strip_nulls(jsonb_build_object('actor', a.actor))
  from (select) one
  left join lateral (
    select a.actor from pgflow.audit a where a.run_id = run.run_id and a.action = 'pause' order by a.audit_id desc limit 1) a on true
  where run.paused_at is not null;
$$;

-- Tasks in the hands of workers. Any worker of ours takes back what another lost, when its lease has lapsed, or what is past its
-- timeout by half a minute.
create or replace function pgflow.explain_running(run pgflow.runs, ids bigint[], at timestamptz) returns setof pgflow.reason
language sql stable as $$
  with held as (
    select t.step_slug, t.started_at, t.attempts_count, coalesce(s.opt_max_attempts, f.opt_max_attempts) as most,
      t.started_at + make_interval(secs => coalesce(s.opt_timeout, f.opt_timeout)) as due, w.lease, w.last_heartbeat_at,
      coalesce(w.function_name || coalesce(format(' (pid %s on %s)', w.pid, w.host), ''), 'worker ' || t.last_worker_id, 'nobody') as worker,
      coalesce(w.lease is null or w.stopped_at is null, false) and w.worker_id is not null as known, pgflow.is_beating(w) as beats
    from unnest(ids) i
    join pgflow.step_tasks t on t.message_id = any (array[i]) and t.stage || '' = 'running'
    join pgflow.flows f on f.flow_slug = t.flow_slug
    left join pgflow.steps s on s.version_id = t.version_id and s.step_slug = t.step_slug
    left join pgflow.workers w on w.worker_id = t.last_worker_id
  ), judged as (
    select h.*, case when not h.known then 'worker_lost' when h.due + interval '5 seconds' < at then 'overdue'
      when h.lease is null then 'foreign_worker' when not h.beats then 'worker_silent' else 'running' end as reason
    from held h
  ), told as (
    select j.step_slug, j.reason, count(*)::int as tasks, min(j.started_at) as since, max(j.due) as due, min(j.worker) as worker,
      count(distinct j.worker) as workers, max(j.attempts_count) as attempt, max(j.most) as most,
      min(j.last_heartbeat_at) as heard, max(j.last_heartbeat_at + j.lease) as lapses
    from judged j group by j.step_slug, j.reason
  )
  select t.reason, case when t.reason in ('running', 'foreign_worker') or s.swept then 'moving' else 'stuck' end, t.step_slug, t.tasks,
    t.since, case t.reason when 'worker_silent' then t.lapses when 'worker_lost' then null else t.due end,
    concat(pgflow.tasks_text(run.kind, t.step_slug, t.tasks), case when t.tasks = 1 then ' runs on ' else ' run on ' end, t.worker,
      case when t.workers > 1 then format(' and %s more', t.workers - 1) end, ' for ', pgflow.duration_text(at - t.since),
      case when t.tasks = 1 then format(', attempt %s of %s', t.attempt, t.most) end,
      case t.reason when 'worker_lost' then '. That worker is gone'
        when 'worker_silent' then format('. That worker was not heard of for %s', pgflow.duration_text(at - t.heard))
        when 'overdue' then format('. Its timeout was over %s ago', pgflow.duration_text(at - t.due))
        when 'foreign_worker' then '. That worker is foreign: nobody but its timeout takes the task back' end,
      case when t.reason in ('running', 'foreign_worker') then ''
        when s.swept then '; another worker is about to take it back' else '; and no worker is there to take it back' end),
    case when t.reason in ('running', 'foreign_worker') or s.swept then null else pgflow.start_a_worker() end,
    jsonb_build_object('worker', t.worker, 'attempt', t.attempt, 'max_attempts', t.most)
  from told t, (select pgflow.is_swept() as swept) s;
$$;

-- Tasks that wait for signals or for children, with or without a deadline.
create or replace function pgflow.explain_waiting(run pgflow.runs, ids bigint[], at timestamptz) returns setof pgflow.reason
language sql stable as $$
  with parked as (
    select t.step_slug, t.awaits, t.await_all, t.ready_at, t.started_at, t.join_id is not null and t.awaits is null as joins,
      t.message_id, t.join_id
    from unnest(ids) i
    join pgflow.step_tasks t on t.message_id = any (array[i]) and t.waiting and t.stage || '' in ('parked', 'delayed')
  ), told as (
    select p.step_slug, p.awaits, p.await_all, p.join_id, count(*)::int as tasks, min(p.ready_at) as until
    from parked p group by p.step_slug, p.awaits, p.await_all, p.join_id
    order by count(*) desc, p.join_id limit 20
  )
  select 'waits_for_signal', 'waiting', t.step_slug, t.tasks, null::timestamptz, u.until,
    concat(pgflow.tasks_text(run.kind, t.step_slug, t.tasks), case when t.tasks = 1 then ' waits for ' else ' wait for ' end,
      case when cardinality(t.awaits) = 1 then 'signal ' when t.await_all then 'all of the signals ' else 'one of the signals ' end,
      array_to_string(t.awaits, ', '), u.said),
    format('stepwell signal %s %s', run.run_id, pgflow.shell_word(t.awaits[1])),
    jsonb_build_object('signals', t.awaits, 'all', t.await_all)
  from told t cross join lateral pgflow.until_text(t.until, at) u
  where t.awaits is not null
  union all
  select 'waits_for_children', 'waiting', t.step_slug, t.tasks, null::timestamptz, u.until,
    concat(pgflow.tasks_text(run.kind, t.step_slug, t.tasks), ' waits for ', j.pending, ' of ', j.total, ' children',
      case when j.failed > 0 then format(', %s failed', j.failed) end,
      case when j.quorum is not null then format(', and goes on when %s have completed', j.quorum) end, u.said),
    (select format('stepwell runs explain %s', c.children[1]) where cardinality(c.children) > 0),
    jsonb_build_object('children', c.children, 'pending', j.pending, 'total', j.total, 'failed', j.failed)
  from told t
  join pgflow.joins j on j.join_id = t.join_id
  cross join lateral pgflow.until_text(t.until, at) u
  cross join lateral (select array(
    select c.run_id from pgflow.runs c where c.join_id = t.join_id and c.status || '' = 'started' order by c.run_id limit 10) as children) c
  where t.awaits is null;
$$;

-- Tasks that wait for their time: when, and what made it so.
create or replace function pgflow.explain_delayed(run pgflow.runs, ids bigint[], at timestamptz) returns setof pgflow.reason
language sql stable as $$
  with delayed as (
    select t.step_slug, t.ready_at, split_part(t.rate_limit, '/', 1) as rate, t.attempts_count, a.error_type, a.error_message,
      coalesce(s.opt_max_attempts, f.opt_max_attempts) as most,
      case when t.ready_at < at - interval '10 seconds' and not pgflow.is_swept() then 'timers_stand_still'
        when t.waiting then null
        when t.promised then 'rate_limited' when s.step_type = 'sleep' then 'sleeping'
        when a.error_type = 'WorkerLost' then 'after_lost_worker' when a.error_type is not null then 'retrying' else 'not_due' end as reason
    from unnest(ids) i
    join pgflow.step_tasks t on t.message_id = any (array[i]) and t.stage || '' = 'delayed'
    join pgflow.flows f on f.flow_slug = t.flow_slug
    left join pgflow.steps s on s.version_id = t.version_id and s.step_slug = t.step_slug
    left join lateral (
      select a.error_type, a.error_message from pgflow.attempts a
      where a.run_id = t.run_id and a.step_slug = t.step_slug and a.task_index = t.task_index
        and a.attempt >= t.attempts_count order by a.attempt_id desc limit 1) a on true
  ), told as (
    select d.reason, d.step_slug, case when d.reason = 'rate_limited' then d.rate end as rate, count(*)::int as tasks, min(d.ready_at) as until, max(d.attempts_count) as attempt,
      max(d.most) as most, min(d.error_type) as error_type, min(d.error_message) as error_message
    from delayed d where d.reason is not null group by 1, 2, 3
  )
  select t.reason, case when t.reason = 'timers_stand_still' then 'stuck' else 'moving' end, t.step_slug, t.tasks, null::timestamptz, t.until,
    concat(pgflow.tasks_text(run.kind, t.step_slug, t.tasks), case t.reason
        when 'timers_stand_still' then format(' had its time %s ago, but no worker is there to see it', pgflow.duration_text(at - t.until))
        when 'rate_limited' then format(' has its turn of rate limit %s (%s a second) in %s', l.name, l.per_second, u.rest)
        when 'sleeping' then ' sleeps for ' || u.rest
        when 'after_lost_worker' then format(' lost its worker, and begins again in %s', u.rest)
        when 'retrying' then format(' failed, and is tried again in %s: attempt %s of %s. Last error: %s: %s', u.rest, t.attempt + 1, t.most,
          t.error_type, left(t.error_message, 200))
        else ' is not due for ' || u.rest end),
    case t.reason when 'timers_stand_still' then pgflow.start_a_worker()
      when 'retrying' then format('stepwell runs show %s --attempts', run.run_id) end,
    jsonb_strip_nulls(jsonb_build_object('rate_limit', t.rate, 'attempt', t.attempt, 'max_attempts', t.most, 'error_type', t.error_type))
  from told t
  cross join lateral (select pgflow.duration_text(greatest(t.until - at, '0')) as rest) u
  left join pgflow.limits l on l.kind = 'rate' and l.name = t.rate;
$$;

-- Tasks that a limit keeps from beginning, and who has its slots: their own gate, or that of their queue or flow.
create or replace function pgflow.explain_gates(run pgflow.runs, ids bigint[], at timestamptz) returns setof pgflow.reason
language sql stable as $$
  with wish as (
    select t.step_slug, t.stage, g.gate, g.capacity
    from unnest(ids) i
    join pgflow.step_tasks t on t.message_id = any (array[i]) and t.stage || '' in ('ready', 'blocked')
    cross join lateral (
      select coalesce(t.blocked_on, t.concurrency_key) as gate, pgflow.capacity_of(coalesce(t.blocked_on, t.concurrency_key)) as capacity
      where t.concurrency_key is not null or t.blocked_on is not null
      union all
      select l.kind || '/' || l.name, l.capacity from pgflow.limits l
      where (l.kind = 'queue' and l.name = t.queue) or (l.kind = 'flow' and l.name = t.flow_slug)) g
  ), told as (
    select w.step_slug, w.gate, w.capacity, count(*)::int as tasks, bool_or(w.stage = 'blocked' and w.gate like any (array['key/%', 'limit/%'])) as blocked,
      (select count(*)::int from pgflow.slots s where s.gate = w.gate) as taken
    from wish w group by w.step_slug, w.gate, w.capacity
    order by count(*) desc, w.gate limit 20
  )
  select case when t.taken >= t.capacity then 'limit_full' else 'limit_has_room' end,
    case when t.taken >= t.capacity then 'waiting' when pgflow.is_swept() then 'moving' else 'stuck' end,
    t.step_slug, t.tasks, h.since, null::timestamptz,
    concat(pgflow.tasks_text(run.kind, t.step_slug, t.tasks), case when t.tasks = 1 then ' waits for ' else ' wait for ' end, pgflow.gate_text(t.gate),
      case when t.taken >= t.capacity then format(', which lets %s run at once: %s', t.capacity, h.said)
        when pgflow.is_swept() then ', which has room: a worker wakes it in a moment'
        else ', which has room, but no worker is there to see it' end),
    case when t.taken >= t.capacity then (select format('stepwell runs explain %s', h.holders #>> '{0,run_id}') where jsonb_array_length(h.holders) > 0)
      when not pgflow.is_swept() then pgflow.start_a_worker() end,
    jsonb_build_object('gate', t.gate, 'capacity', t.capacity, 'taken', t.taken, 'holders', h.holders)
  from told t cross join lateral pgflow.holders_of(t.gate, at) h
  where t.blocked or t.taken >= t.capacity;
$$;

-- Who has slots of a gate: as rows, and in words.
create or replace function pgflow.holders_of(gate text, at timestamptz, out holders jsonb, out since timestamptz, out said text)
language sql stable as $$
  with holder as (
    select t.run_id, t.flow_slug, t.step_slug, t.started_at, w.function_name as worker,
      w.worker_id is null or w.stopped_at is not null and w.lease is not null as lost
    from pgflow.slots s
    left join pgflow.step_tasks t on t.message_id = any (array[s.message_id])
    left join pgflow.workers w on w.worker_id = s.worker_id
    where s.gate = holders_of.gate order by t.started_at limit 10
  )
  select coalesce(jsonb_agg(jsonb_build_object('run_id', h.run_id, 'flow', h.flow_slug, 'step', h.step_slug, 'worker', h.worker)), '[]'),
    min(h.started_at),
    string_agg(concat('run ', h.run_id, ' (', h.flow_slug, ', step ', h.step_slug, ')', ' on ' || h.worker,
      ' for ' || pgflow.duration_text(at - h.started_at), case when h.lost then ', a worker that is gone' end), '; ')
  from holder h;
$$;

-- What no way of the engine leads to: rows that were changed by hand, or a defect.
create or replace function pgflow.explain_broken(run pgflow.runs, ids bigint[]) returns setof pgflow.reason
language sql stable as $$
  select 'nothing_is_open', 'stuck', null::text, 0, null::timestamptz, null::timestamptz,
    'the run has not ended, and yet no task of it is open: somebody changed its rows, or this is a defect of ours',
    format('stepwell runs cancel %1$s && stepwell runs retry %1$s', run.run_id), '{}'::jsonb
  where ids = '{}'
  union all
  select b.reason, 'stuck', b.step_slug, count(*)::int, null, null,
    pgflow.tasks_text(run.kind, b.step_slug, count(*)::int) || b.said, format('stepwell runs cancel %s', run.run_id), '{}'
  from (
    select t.step_slug, case
      when s.step_slug is null then 'missing_step' when s.step_type = 'map' and t.input is null then 'missing_input'
      when t.stage = 'parked' and t.awaits is null and t.join_id is null then 'nothing_wakes_it'
      when t.stage = 'paused' and run.paused_at is null then 'not_paused' end as reason, case
      when s.step_slug is null then ': its version has no such step'
      when s.step_type = 'map' and t.input is null then ' has no element to work on'
      when t.stage = 'parked' then ' is parked, and nothing would wake it'
      else ' was put aside, and the run is not paused' end as said
    from unnest(ids) i
    join pgflow.step_tasks t on t.message_id = any (array[i])
    left join pgflow.steps s on s.version_id = t.version_id and s.step_slug = t.step_slug) b
  where b.reason is not null group by b.reason, b.step_slug, b.said;
$$;

-- In words: how much of a run is meant; what a gate is; when a wait ends, if it does; how long something takes.
create or replace function pgflow.tasks_text(kind text, step text, tasks int) returns text
language sql immutable as $$
  select concat(case when tasks > 1 then format('%s tasks of ', tasks) end, case when kind = 'job' then 'the job' else 'step ' || step end);
$$;

create or replace function pgflow.gate_text(gate text) returns text
language sql immutable as $$
  select case split_part(gate, '/', 1)
    when 'key' then 'concurrency key ' || substr(gate, 5)
    when 'limit' then concat('concurrency limit ', split_part(gate, '/', 2), nullif(' (' || substr(gate, length(split_part(gate, '/', 2)) + 8) || ')', ' ()'))
    when 'queue' then 'the limit of queue ' || substr(gate, 7) else 'max_running of ' || substr(gate, 6) end;
$$;

create or replace function pgflow.until_text(moment timestamptz, at timestamptz, out until timestamptz, out said text)
language sql stable as $$
  select case when isfinite(moment) then moment end,
    case when isfinite(moment) then format(', for %s more', pgflow.duration_text(greatest(moment - at, '0'))) end;
$$;

create or replace function pgflow.duration_text(length interval) returns text
language sql immutable as $$
  select case when s < 1 then round(s * 1000) || ' ms' when s < 60 then round(s, 1) || ' s'
    when s < 3600 then format('%s min %s s', floor(s / 60), floor(s % 60))
    when s < 172800 then format('%s h %s min', floor(s / 3600), floor(s % 3600 / 60))
    else format('%s d %s h', floor(s / 86400), floor(s % 86400 / 3600)) end
  from (select greatest(extract(epoch from length), 0) as s) e;
$$;

-- A value as a word of a command line.
create or replace function pgflow.shell_word(value text) returns text
language sql immutable as $$
  select case when value ~ '^[A-Za-z0-9_./:@%+=-]+$' then value else '''' || replace(value, '''', '''\''''') || '''' end;
$$;
