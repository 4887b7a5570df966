-- COMMIT: outcomes of claimed tasks, one or thousands, in one transaction: close the tasks, move their runs, arm
-- what comes next. An entry whose token is no longer the task's is dropped and comes back as 'stale'.
--
-- Lock order, here and in every function that takes more than one: runs by id, then tasks, then step_states, then slots
-- by gate.
-- A run's row lock serialises everything that moves that run. A batch waits for the runs it names, a worker's for a second
-- at most; then it is written without the runs that somebody holds.
--
-- A batch equals its entries written one after another, per run: completions by step, then the tasks that are out
-- of attempts, by id. Where that order cannot show (nothing in the batch can end the run early), all go at once.

-- Write outcomes; the arrays are parallel. Flows and jobs say completed, failed, failed_permanently, snooze or
-- cancelled, a flow's step also spawn; machines say next, await, spawn, retry, done, stop, or that they failed. What a word
-- needs beside itself stands in its output (plan_machine.sql). Up to `want` of the tasks
-- that become ready in the worker's lanes are handed to it, claimed already: verdict 'handed'. A row with a queue
-- says that more became ready there than was handed: verdict 'ready'. (Of several tasks of a step that are out of
-- attempts in one batch, the first ends the step; the others are late, but what they said is kept.)
create or replace function pgflow.commit_tasks(
  worker uuid, message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[],
  error_types text[] default null, error_messages text[] default null, tracebacks text[] default null,
  lane_queues text[] default '{}', lane_versions int[] default '{}', want int default 0
) returns table (message_id bigint, verdict text, queue text)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  done constant record := pgflow.write_outcomes(worker, message_ids, tokens, outcomes, outputs,
    error_types, error_messages, tracebacks, lane_queues, lane_versions, want);
begin
  return query
  select e.id, case when w.token is null then 'stale' else 'committed' end, null::text
  from unnest(message_ids, tokens) e (id, token) left join unnest(done.written) w (token) on w.token = e.token
  union all select h, 'handed', null from unnest(done.handed) h
  union all select distinct null::bigint, 'ready', q from unnest(done.woken) q;
end
$$;

-- One turn of a worker in one round trip: write what ended, then take on up to `want` tasks, handed ones first.
-- Rows with a verdict are of the commit ('stale' and 'ready' as above), or say 'contended': look again in a moment. The
-- others are tasks to run, and one more for each of their runs that has tags or metadata: its 'labels', as the input of the row.
-- A run that somebody holds for long ends the call (lock_not_available); without patience its outcomes come back as 'busy'
-- instead.
create or replace function pgflow.commit_and_claim(
  worker uuid, message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[],
  error_types text[], error_messages text[], tracebacks text[], lane_queues text[], lane_versions int[], want int,
  patient boolean default true
) returns table (
  verdict text, queue text, message_id bigint, claim_token bigint, run_id uuid, flow_slug text, version_id int,
  step_slug text, task_index int, attempt int, max_attempts int, timeout int, started_at timestamptz,
  input text, flow_input text, kind text, key text, crashes int, signals text, children text, version int)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set lock_timeout = '1s' set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  done constant record := pgflow.write_outcomes(worker, message_ids, tokens, outcomes, outputs,
    error_types, error_messages, tracebacks, lane_queues, lane_versions, want, patient);
  taken bigint[] := done.handed;
  woken text[] := done.woken;
  more record;
begin
  if exists (select from pgflow.owed_wakes) then
    woken := woken || pgflow.pay_wakes();
  end if;
  if cardinality(taken) < want then
    more := pgflow.take_on(worker, lane_queues, lane_versions, want - cardinality(taken), pgflow.now());
    taken := taken || more.ids;
    -- owed for longer: a person holds the task, who may take their time
    if more.contended or exists (select from pgflow.owed_wakes w where w.since > pgflow.now() - interval '1 second') then
      verdict := 'contended';
      return next;
    end if;
    if more.delayed then
      verdict := 'delayed';
      return next;
    end if;
    verdict := null;
  end if;
  return query
  select null::text, null::text, d.* from pgflow.describe_tasks(taken) d
  union all
  select 'labels', null, null, null, l.run_id, null, null, null, null, null, null, null, null, l.labels, null, null, null, null,
    null, null, null
  from pgflow.labels_of(taken) l;
  verdict := 'stale';
  for n in 1 .. case when cardinality(done.written) < cardinality(tokens) then cardinality(tokens) else 0 end loop
    if tokens[n] <> all (done.written) then
      verdict := case when tokens[n] = any (done.busy) then 'busy' else 'stale' end;
      message_id := message_ids[n];
      claim_token := tokens[n];
      return next;
    end if;
  end loop;
  message_id := null;
  claim_token := null;
  verdict := 'ready';
  foreach queue in array array(select distinct q from unnest(woken) q) loop
    return next;
  end loop;
end
$$;

create or replace function pgflow.write_outcomes(
  worker uuid, message_ids bigint[], tokens bigint[], outcomes text[], outputs jsonb[],
  error_types text[], error_messages text[], tracebacks text[], lane_queues text[], lane_versions int[], want int,
  patient boolean default true, bodies_ended boolean default true,
  out written bigint[], out handed bigint[], out woken text[], out busy bigint[]    -- tokens, ids, queues, tokens
) language plpgsql as $$
declare
  at constant timestamptz := pgflow.now();
  locked uuid[];
  judged pgflow.entry[];
  of_flows pgflow.entry[];
  last_round int;
  spawning boolean;
  applied record;
begin
  if not outcomes <@ array['completed', 'failed', 'failed_permanently', 'snooze', 'cancelled', 'spawn', 'next', 'await', 'retry',
      'done', 'stop', 'released'] then
    raise invalid_parameter_value using message = format(
      'an outcome is completed, failed or failed_permanently (or a word of plan_machine.sql), not %s',
      array_to_string(outcomes, ', '));
  end if;
  if pg_column_size(outputs) > 1048576 then
    perform pgflow.check_payloads(outputs, 'an outcome');
  end if;
  written := '{}';
  handed := '{}';
  woken := '{}';
  busy := '{}';
  if message_ids = '{}' then
    return;
  end if;
  locked := pgflow.lock_runs_of(message_ids, outcomes, patient);
  if cardinality(tokens) = 1 and pg_column_size(outputs) > 1048576 then
    outputs := array[pgflow.write_ahead(message_ids[1], tokens[1], outcomes[1], outputs[1], locked)];
  end if;
  judged := pgflow.judge_entries(message_ids, tokens, outcomes, outputs, error_types, error_messages, tracebacks);
  if not patient then
    busy := array(select j.claim_token from unnest(judged) j where j.run_id <> all (locked));
    judged := array(select j::pgflow.entry from unnest(judged) j where j.run_id = any (locked));
  end if;
  if want > 0 and (exists (select from pgflow.pauses)
    or exists (select from pgflow.limits l where l.kind = any (array['flow', 'queue'])))
  then
    want := 0;                               -- the claim looks at pauses and caps; a hand-over does not
  end if;
  select coalesce(array_agg(j::pgflow.entry) filter (where j.kind = 'flow'), '{}'),
    coalesce(max(j.round) filter (where j.kind = 'flow'), -1),
    coalesce(bool_or(j.kind = 'flow' and j.verdict = 'spawn'), false)
  into of_flows, last_round, spawning from unnest(judged) j;
  if spawning then
    applied := pgflow.spawn_from_steps(array(select j::pgflow.entry from unnest(of_flows) j where j.verdict = 'spawn'), at);
    written := applied.written;
    woken := applied.woken;
    of_flows := array(select j::pgflow.entry from unnest(of_flows) j where j.verdict <> 'spawn');
    last_round := case when of_flows = '{}' then -1 else last_round end;
    judged := array(select j::pgflow.entry from unnest(judged) j where not (j.kind = 'flow' and j.verdict = 'spawn'));
  end if;
  for n in 0 .. last_round loop
    applied := pgflow.apply_entries(
      case when last_round = 0 then of_flows else array(select j::pgflow.entry from unnest(of_flows) j where j.round = n) end,
      at, worker, lane_queues, lane_versions, case when n = last_round then want else 0 end);
    written := written || applied.written;
    handed := handed || applied.handed;
    woken := woken || applied.woken;
  end loop;
  if cardinality(of_flows) < cardinality(judged) then
    applied := pgflow.move_runs(array(select j::pgflow.entry from unnest(judged) j where j.kind <> 'flow'),
      at, worker, lane_queues, lane_versions, want - cardinality(handed));
    written := written || applied.written;
    handed := handed || applied.handed;
    woken := woken || applied.woken;
  end if;
  woken := woken || pgflow.after_ends(locked, at);
  -- a handler that was given up may still run in its thread (lingers): its worker says `released` when it has ended
  if bodies_ended and exists (select from pgflow.slots s where s.claim_token = any (tokens)) then
    woken := woken || pgflow.free_slots(array(
      select e.token from unnest(tokens, outcomes, outputs) e (token, outcome, output)
      where e.token <> all (busy) and not (e.outcome <> 'completed' and coalesce(e.output ? 'lingers', false))));
  end if;
end
$$;

-- Lock the runs of these tasks and, where an outcome may end its run, their parents, in the one order that everybody
-- keeps; without patience those that nobody holds. Answers with the live ones.
create or replace function pgflow.lock_runs_of(
  message_ids bigint[], outcomes text[] default null, patient boolean default true
) returns uuid[]
language plpgsql as $$
declare
  run_ids uuid[];
  parents uuid[];
  locked uuid[];
begin
  select array_agg(t.run_id), array_agg(r.parent_run_id) filter (
    where r.parent_run_id is not null and e.outcome not in ('next', 'await', 'retry', 'snooze'))
  into run_ids, parents
  from unnest(message_ids, outcomes) e (id, outcome)
  cross join lateral (select t.run_id from pgflow.step_tasks t where t.message_id = e.id offset 0) t
  cross join lateral (select r.parent_run_id from pgflow.runs r where r.run_id = t.run_id offset 0) r;
  run_ids := run_ids || parents;
  -- those that ended too: a retry may bring one back before we come to it
  if patient then
    return array(
      select r.run_id from (
        select r.run_id, r.status from pgflow.runs r where r.run_id = any (run_ids) order by r.run_id
        offset 0 for no key update) r
      where r.status = 'started');
  end if;
  locked := array(
    select r.run_id from pgflow.runs r where r.run_id = any (run_ids) order by r.run_id for no key update skip locked);
  return array(                              -- a run whose parent somebody holds is as good as held
    select r.run_id from pgflow.runs r
    where r.run_id = any (locked) and r.status || '' = 'started'
      and (r.parent_run_id is null or r.parent_run_id = any (locked) or r.parent_run_id <> all (coalesce(parents, '{}'))));
end
$$;

-- One round: close the tasks, record what failed, then let each run go as far as it can.
create or replace function pgflow.apply_entries(
  entries pgflow.entry[], at timestamptz, worker uuid, lane_queues text[], lane_versions int[], want int,
  out written bigint[], out handed bigint[], out woken text[]
) language plpgsql as $$
declare
  done pgflow.step_ref[];
  counts int[];
  exhausted pgflow.entry[];
  finished pgflow.step_ref[] := '{}';
  skipped record;
begin
  select c.written, c.done, c.counts, c.exhausted into written, done, counts, exhausted
  from pgflow.close_tasks(entries, at) c;

  if (select bool_or(e.can_fail_early) from unnest(entries) e) then
    select v.done, v.counts into done, counts from pgflow.fail_violations(done, counts, at) v;
  end if;
  if done <> '{}' then
    finished := pgflow.count_down(done, counts, at);
  end if;
  if exhausted <> '{}' then
    skipped := pgflow.exhaust_steps(exhausted, at);
    select a.handed, a.woken into handed, woken from pgflow.advance_flows(
      '{}', finished || skipped.passed, skipped.below, at, worker, lane_queues, lane_versions, want) a;
  elsif finished <> '{}' then
    select a.handed, a.woken into handed, woken from pgflow.advance_flows(
      '{}', finished, '{}', at, worker, lane_queues, lane_versions, want) a;
  end if;
  handed := coalesce(handed, '{}');
  woken := coalesce(woken, '{}');
end
$$;

-- The tasks' own rows, and a row in attempts for each one that did not succeed.
create or replace function pgflow.close_tasks(
  entries pgflow.entry[], at timestamptz,
  out written bigint[], out done pgflow.step_ref[], out counts int[], out exhausted pgflow.entry[]
) language plpgsql as $$
begin
  with closed as (
    update pgflow.step_tasks t
    set stage = case when e.verdict not in ('retry', 'snooze') then 'closed' when e.delay > 0 then 'delayed' else 'ready' end,
        status = case when e.verdict = 'completed' then 'completed' when e.verdict in ('retry', 'snooze') then 'queued'
          else 'failed' end,
        claim_token = null, attempts_count = t.attempts_count - (e.verdict = 'snooze')::int,
        output = case when e.verdict = 'completed' then coalesce(e.output, t.output) end,   -- write_ahead
        error_message = coalesce(e.error_message, t.error_message),
        started_at = case when e.verdict not in ('retry', 'snooze') then t.started_at end,
        ready_at = case when e.verdict in ('retry', 'snooze') then at + make_interval(secs => e.delay) else t.ready_at end,
        completed_at = case when e.verdict = 'completed' then greatest(at, t.started_at) end,
        failed_at = case when e.verdict not in ('completed', 'retry', 'snooze') then greatest(at, t.started_at) end
    from unnest(entries) e
    where t.message_id = any (array[e.message_id]) and t.claim_token = e.claim_token and e.verdict <> 'late'
    returning e.*, e as entry, t.last_worker_id
  ), logged as (
    insert into pgflow.attempts (
      run_id, step_slug, task_index, attempt, error_type, error_message, traceback, worker_id, started_at, failed_at)
    select c.run_id, c.step_slug, c.task_index, c.attempt, coalesce(c.error_type, 'Error'), coalesce(c.error_message, ''),
      c.traceback, c.last_worker_id, c.started_at, greatest(at, c.started_at)
    from (
      select c.run_id, c.step_slug, c.task_index, c.attempt, c.error_type, c.error_message, c.traceback, c.last_worker_id,
        c.started_at
      from closed c where c.verdict not in ('completed', 'snooze')
      union all
      select e.run_id, e.step_slug, e.task_index, e.attempt, e.error_type, e.error_message, e.traceback,
        (select t.last_worker_id from pgflow.step_tasks t where t.message_id = e.message_id), e.started_at
      from unnest(entries) e where e.verdict = 'late'
    ) c
  ), counted as (
    select c.run_id, c.version_id, c.step_slug, count(*)::int as tasks
    from closed c where c.verdict = 'completed' group by c.run_id, c.version_id, c.step_slug
  )
  select
    coalesce((select array_agg(c.claim_token) from closed c), '{}'),
    coalesce((select array_agg((c.run_id, c.version_id, c.step_slug)::pgflow.step_ref) from counted c), '{}'),
    coalesce((select array_agg(c.tasks) from counted c), '{}'),
    coalesce((select array_agg(c.entry) from closed c where c.verdict not in ('completed', 'retry', 'snooze')), '{}')
  into written, done, counts, exhausted;
end
$$;
