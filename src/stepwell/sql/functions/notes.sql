-- NOTES: what bodies say while they run: progress, and log lines.
-- Locks: tasks, with skip locked, so that no run is deleted while its lines are written; who has the claim writes alone.

-- Write what the holders of these claims said; the first five arrays are parallel, and so are the others. Of a claim that said
-- nothing of its progress `said_ago` is null. Times are told in seconds ago. A line that is there already, by its claim and
-- number, takes the new text. Answers for each claim: written, stale (it is over, and nothing is written), or busy: once more.
create or replace function pgflow.write_notes(
  message_ids bigint[], tokens bigint[], shares real[], said text[], said_ago float8[],
  line_tokens bigint[], line_numbers int[], lines_ago float8[], levels text[], lines text[]
) returns table (claim_token bigint, verdict text)
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set lock_timeout = '1s' set jit = off
set enable_seqscan = off set enable_bitmapscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
begin
  return query
  with held as materialized (
    select e.token, t.run_id, t.step_slug, t.task_index, t.attempts_count as attempt, e.share, e.message, e.ago
    from unnest(message_ids, tokens, shares, said, said_ago) as e (id, token, share, message, ago)
    cross join lateral (
      select t.run_id, t.step_slug, t.task_index, t.attempts_count
      from pgflow.step_tasks t where t.message_id = e.id and t.claim_token = e.token
      for key share skip locked) t
  ), moved as (
    insert into pgflow.progress as p (run_id, step_slug, task_index, attempt, claim_token, share, message, at)
    select h.run_id, h.step_slug, h.task_index, h.attempt, h.token, h.share, h.message, at - make_interval(secs => h.ago)
    from held h where h.ago is not null
    on conflict (run_id, step_slug, task_index) do update
    set attempt = excluded.attempt, claim_token = excluded.claim_token, share = excluded.share, message = excluded.message,
        at = excluded.at
  ), kept as (
    insert into pgflow.logs as l (run_id, step_slug, task_index, attempt, claim_token, n, at, level, message)
    select h.run_id, h.step_slug, h.task_index, h.attempt, h.token, e.n, at - make_interval(secs => e.ago), e.level, e.message
    from unnest(line_tokens, line_numbers, lines_ago, levels, lines) with ordinality as e (token, n, ago, level, message, place)
    join held h on h.token = e.token
    order by e.place
    on conflict (run_id, claim_token, n) do update set message = excluded.message where l.message <> excluded.message
  )
  select e.token, case when h.token is not null then 'written' when t.claim_token is not null then 'busy' else 'stale' end
  from unnest(message_ids, tokens) as e (id, token)
  left join held h on h.token = e.token
  left join pgflow.step_tasks t on t.message_id = any (array[e.id]) and t.claim_token = e.token;
end
$$;

-- Log lines of a run in the order in which they were written: the first behind (after_xid, after_log), or the `newest`. To read
-- on: with `seen`, a snapshot that an answer told, only what was written since; a page of it with `until` and the last line of
-- the page before. There is always a row; it has no line when there is none.
create or replace function pgflow.run_logs(
  run_id uuid, only_step text default null, only_index int default null, only_attempt int default null,
  only_levels text[] default null, most int default 1000, newest boolean default false,
  seen text default null, until text default null, after_xid text default null, after_log bigint default null
) returns table (snapshot text, xid text, log_id bigint, step_slug text, task_index int, attempt int, claim_token bigint, n int,
  at timestamptz, level text, message text)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  before constant pg_snapshot := run_logs.seen::pg_snapshot;
  horizon constant pg_snapshot := coalesce(run_logs.until::pg_snapshot, pg_current_snapshot());
  -- no transaction of this server wrote what comes from here on: it was restored from another one, and is old
  unknown_from constant xid8 := pg_snapshot_xmax(pg_current_snapshot());
  oldest constant xid8 := coalesce(greatest(pg_snapshot_xmin(before), run_logs.after_xid::xid8), run_logs.after_xid::xid8, '0');
begin
  return query
  select horizon::text, l.xid::text, l.log_id, l.step_slug, l.task_index, l.attempt, l.claim_token, l.n, l.at, l.level, l.message
  from (select) always
  left join (
    (select l.* from pgflow.logs l
    where not newest and l.run_id = run_logs.run_id and l.xid >= oldest
      and (before is null or l.xid < unknown_from and not pg_visible_in_snapshot(l.xid, before))
      and (run_logs.until is null or l.xid >= unknown_from or pg_visible_in_snapshot(l.xid, horizon))
      and (run_logs.after_xid is null or (l.xid, l.log_id) > (run_logs.after_xid::xid8, run_logs.after_log))
      and (only_step is null or l.step_slug = only_step) and (only_index is null or l.task_index = only_index)
      and (only_attempt is null or l.attempt = only_attempt) and (only_levels is null or l.level = any (only_levels))
    order by l.xid, l.log_id limit most)
    union all
    (select l.* from pgflow.logs l
    where newest and l.run_id = run_logs.run_id
      and (only_step is null or l.step_slug = only_step) and (only_index is null or l.task_index = only_index)
      and (only_attempt is null or l.attempt = only_attempt) and (only_levels is null or l.level = any (only_levels))
    order by l.xid desc, l.log_id desc limit most)) l on true
  order by l.xid, l.log_id;
end
$$;

-- How far the tasks of a run said they are: those that run first, of these the newest. Of one that does not run any more it is
-- what was said last.
create or replace function pgflow.run_progress(run_id uuid, most int default 1000)
returns table (step_slug text, task_index int, attempt int, share real, message text, at timestamptz, running boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
begin
  return query
  select p.step_slug, p.task_index, p.attempt, p.share, p.message, p.at, t.claim_token is not null as running
  from pgflow.progress p
  left join pgflow.step_tasks t on t.run_id = any (array[p.run_id]) and t.step_slug = p.step_slug and t.task_index = p.task_index
    and t.claim_token = p.claim_token
  where p.run_id = run_progress.run_id
  order by running desc, p.at desc, p.step_slug, p.task_index limit most;
end
$$;
