-- ARCHIVE: runs that somebody wants to have before they go. They are read, handed over, and forgotten afterwards, in a transaction
-- of its own: nothing is held while an archive works. Locks: rows of archiving, of which each worker skips what another one has;
-- then ended runs, with skip locked, and what is refused of these. It waits for no lock.

-- All of a run as one document, in which it can be kept. Of failed attempts and log lines the newest: a document of what went wrong
-- a million times would be larger than a value can be. `cut` says that there were more.
create or replace function pgflow.run_document(run_id uuid) returns json
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
  return (
    select json_build_object(
      'id', r.run_id, 'flow', r.flow_slug, 'kind', r.kind, 'version', v.version, 'status', r.status, 'key', r.key,
      'priority', r.priority, 'started_at', r.started_at,
      'ended_at', coalesce(r.completed_at, r.failed_at, r.cancelled_at),
      'error_message', r.error_message, 'failed_step', r.failed_step,
      'parent_id', r.parent_run_id, 'origin_id', r.origin_run_id,
      'input', r.input, 'output', r.output, 'state', r.state, 'tags', r.tags, 'metadata', r.metadata,
      'steps', (
        select coalesce(json_agg(json_build_object(
          'step', s.step_slug, 'type', s.step_type, 'status', s.status, 'tasks', s.initial_tasks,
          'failed_attempts', s.failed_attempts, 'skip_reason', s.skip_reason, 'error_message', s.error_message,
          'started_at', s.started_at, 'ended_at', s.ended_at, 'output', s.output)), '[]')
        from pgflow.run_steps(run_document.run_id) s),
      'attempts', (
        select coalesce(json_agg(json_build_object(
          'step', a.step_slug, 'task_index', a.task_index, 'attempt', a.attempt, 'error_type', a.error_type,
          'error_message', a.error_message, 'traceback', a.traceback, 'worker_id', a.worker_id,
          'started_at', a.started_at, 'failed_at', a.failed_at) order by a.attempt_id), '[]')
        from (
          select * from (select * from pgflow.attempts a where a.run_id = run_document.run_id offset 0) a
          order by a.attempt_id desc limit 2000) a),
      'signals', (
        select coalesce(json_agg(json_build_object(
          'name', g.name, 'payload', g.payload, 'sent_at', g.sent_at, 'consumed_at', g.consumed_at) order by g.signal_id), '[]')
        from pgflow.signals g where g.run_id = run_document.run_id),
      'logs', (
        select coalesce(json_agg(json_build_object(
          'step', l.step_slug, 'task_index', l.task_index, 'attempt', l.attempt, 'at', l.at, 'level', l.level,
          'message', l.message) order by l.log_id), '[]')
        from (
          select * from pgflow.logs l where l.run_id = run_document.run_id order by l.xid desc, l.log_id desc limit 10000) l),
      'cut', exists (
          select from pgflow.attempts a where a.run_id = run_document.run_id offset 2000)
        or exists (select from pgflow.logs l where l.run_id = run_document.run_id offset 10000))
    from pgflow.runs r join pgflow.versions v on v.version_id = r.version_id
    where r.run_id = run_document.run_id);
end
$$;

-- A page of runs of a flow that ended before then, as documents: those that may go, in the order in which they started, behind
-- the run named. It looks at `most` runs, and takes some megabytes, or one run. last_run null: there are no more behind. A run of
-- which no document can be made, or one of more than `largest` bytes, is refused: it stays, the reason is kept, and those behind
-- it go on. `patience`: one that was refused so lately is not tried again.
create or replace function pgflow.runs_to_archive(
  flow_slug text, before timestamptz, most int default 100, after_start timestamptz default null, after_run uuid default null,
  largest int default 250000000, patience interval default '0'
) returns table (
  run_ids uuid[], ended timestamptz[], documents json[], last_start timestamptz, last_run uuid, refused uuid[], reasons text[])
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  page record;
  old record;
  made record;
  stored bigint := 0;
  written bigint := 0;
  is_cut boolean := false;
begin
  run_ids := '{}';
  ended := '{}';
  documents := '{}';
  refused := '{}';
  reasons := '{}';
  select * into page from pgflow.old_runs(
    runs_to_archive.flow_slug, runs_to_archive.before, runs_to_archive.most, runs_to_archive.after_start, runs_to_archive.after_run);
  for old in
    select p.run_id, r.started_at, r.ended, r.size
    from unnest(pgflow.may_go(page.run_ids, runs_to_archive.before, at)) g (run_id)
    join unnest(page.run_ids) with ordinality p (run_id, place) on p.run_id = g.run_id
    cross join lateral (
      select r.started_at, coalesce(r.completed_at, r.failed_at, r.cancelled_at) as ended,
        coalesce(pg_column_size(r.input), 0)::bigint + coalesce(pg_column_size(r.output), 0) + coalesce(pg_column_size(r.state), 0)
          + (select coalesce(sum(pg_column_size(s.output)), 0)
             from pgflow.step_states s where s.run_id = any (array[r.run_id]))
          + (select coalesce(sum(coalesce(pg_column_size(a.traceback), 0) + pg_column_size(a.error_message)), 0) from (
             select * from pgflow.attempts a where a.run_id = r.run_id limit 2000) a)
          + (select coalesce(sum(pg_column_size(l.message)), 0) from (
             select * from pgflow.logs l where l.run_id = r.run_id limit 10000) l) as size
      from pgflow.runs r where r.run_id = any (array[p.run_id]) offset 0) r
    where not exists (
      select from pgflow.archive_refusals f where f.run_id = p.run_id and f.refused_at > at - patience and f.refused_at <= at)
    order by p.place
  loop
    is_cut := stored >= 8000000;             -- as stored, which is compressed
    exit when is_cut;
    stored := stored + old.size;
    select * into made from pgflow.archive_document(old.run_id, old.size, largest);
    if made.reason is not null then
      perform pgflow.refuse_archive(old.run_id, runs_to_archive.flow_slug, made.reason, at);
      refused := refused || old.run_id;
      reasons := reasons || made.reason;
    else
      is_cut := written > 0 and written + made.bytes > 32000000;   -- it is the first of the next page
      exit when is_cut;
      written := written + made.bytes;
      run_ids := run_ids || old.run_id;
      ended := ended || old.ended;
      documents := documents || made.document;
    end if;
    last_start := old.started_at;
    last_run := old.run_id;
  end loop;
  if not is_cut then
    last_start := page.last_start;
    last_run := page.last_run;
  end if;
  return next;
end
$$;

-- A run's document, or the reason why there is none. `stored`: what it takes in the tables, which is compressed: so much of it
-- cannot be a document, and nobody has to try. An answer has all documents of a page, quoted, in one value of a gigabyte at most.
create or replace function pgflow.archive_document(
  run_id uuid, stored bigint, largest int, out document json, out bytes int, out reason text)
language plpgsql as $$
begin
  if stored <= 4 * largest::bigint then
    document := pgflow.run_document(run_id);
    bytes := octet_length(document::text);
  end if;
  if document is null or bytes > largest then
    reason := format('its document would be larger than %s bytes (%s in the tables)', largest, pg_size_pretty(stored));
    document := null;
  end if;
exception when others then                   -- a value of Postgres cannot be so large, or there is no memory for it
  reason := sqlerrm;
  document := null;
end
$$;

-- Runs are tried again later; `tries` counts how often they were.
create or replace function pgflow.refuse_archive(run_id uuid, flow_slug text, message text, at timestamptz) returns void
language plpgsql as $$
#variable_conflict use_column
begin
  insert into pgflow.archive_refusals as f (run_id, flow_slug, message, refused_at)
  values (refuse_archive.run_id, refuse_archive.flow_slug, refuse_archive.message, at)
  on conflict on constraint archive_refusals_pkey do update
  set message = excluded.message, refused_at = excluded.refused_at, tries = f.tries + 1;
end
$$;

-- The next runs for a worker that archives these flows: past the flow's retention, else past `days`. They are in its hands for as
-- long as `lease`; whoever comes meanwhile gets those of another flow. A round over a flow begins `every` so often. No row but
-- `again`: there is nothing to do for so many seconds; 0: look again. What was refused (runs_to_archive) is tried again after
-- `patience`.
create or replace function pgflow.take_archive(
  flow_slugs text[], worker uuid, days float8 default 30, every interval default '5 minutes', lease interval default '10 minutes',
  most int default 100, patience interval default '1 day', largest int default 250000000
) returns table (
  flow_slug text, run_ids uuid[], ended timestamptz[], documents json[], again float8, refused uuid[], reasons text[])
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  at constant timestamptz := pgflow.now();
  place pgflow.archiving;
  page record;
begin
  insert into pgflow.archiving (flow_slug)
  select f.flow_slug from pgflow.flows f
  where f.flow_slug = any (flow_slugs) and f.opt_archive
    and not exists (select from pgflow.archiving a where a.flow_slug = f.flow_slug)
    and pg_try_advisory_xact_lock(hashtext('stepwell.archiving'), hashtext(f.flow_slug))   -- one makes it, and nobody waits
  on conflict do nothing;
  run_ids := '{}';
  select a.* into place
  from pgflow.archiving a join pgflow.flows f on f.flow_slug = a.flow_slug
  where f.flow_slug = any (flow_slugs) and f.opt_archive and coalesce(f.opt_retention, days) > 0
    and (a.held_until between at and at + lease) is not true
    and (a.started_at is not null or (a.finished_at between at - every and at) is not true)
  order by a.flow_slug limit 1 for update of a skip locked;
  if not found then
    again := extract(epoch from every);
    return next;
    return;
  end if;
  select p.* into page
  from pgflow.flows f, pgflow.runs_to_archive(
    f.flow_slug, at - make_interval(days => 1) * least(coalesce(f.opt_retention, days), 36500), most, place.started_at, place.run_id,
    largest => take_archive.largest, patience => take_archive.patience) p
  where f.flow_slug = place.flow_slug;
  update pgflow.archiving a
  set started_at = page.last_start, run_id = page.last_run,
      finished_at = case when page.last_run is null then at else a.finished_at end,
      worker_id = case when page.run_ids <> '{}' then worker end,
      held_until = case when page.run_ids <> '{}' then at + lease end
  where a.flow_slug = place.flow_slug;
  again := 0;
  flow_slug := place.flow_slug;
  run_ids := page.run_ids;
  ended := page.ended;
  documents := page.documents;
  refused := page.refused;
  reasons := page.reasons;
  return next;
end
$$;

-- The runs of a batch are archived: forget those that are still as they were handed out. One that was retried since stays, and
-- one that somebody holds is archived again in the next round.
create or replace function pgflow.forget_archived(run_ids uuid[], ended timestamptz[]) returns int
language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan
set jit = off set enable_seqscan = off set enable_bitmapscan = off as $$
#variable_conflict use_column
declare
  held constant uuid[] := pgflow.may_go(forget_archived.run_ids, 'infinity', pgflow.now());
  doomed constant uuid[] := array(
    select r.run_id
    from unnest(forget_archived.run_ids, forget_archived.ended) e (run_id, ended)
    join pgflow.runs r on r.run_id = any (array[e.run_id])
    where r.run_id = any (held) and coalesce(r.completed_at, r.failed_at, r.cancelled_at) = e.ended);
begin
  perform pgflow.forget_runs(doomed);
  return cardinality(doomed);
end
$$;

-- A worker is done with what it took of a flow: these are archived, and go. With a `pause` it could not archive them: they come
-- again in the next round, and others of the flow after that many seconds. With neither they are given back: a round begins anew.
create or replace function pgflow.end_archive(
  worker uuid, flow_slug text, run_ids uuid[] default '{}', ended timestamptz[] default '{}', pause float8 default 0
) returns int
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
  update pgflow.archiving a
  set worker_id = null, held_until = case when pause > 0 then pgflow.now() + make_interval(secs => least(pause, 600)) end,
      started_at = case when end_archive.run_ids <> '{}' or pause > 0 then a.started_at end,
      run_id = case when end_archive.run_ids <> '{}' or pause > 0 then a.run_id end,
      finished_at = case when end_archive.run_ids <> '{}' or pause > 0 then a.finished_at end
  where a.flow_slug = end_archive.flow_slug and a.worker_id = worker;
  return pgflow.forget_archived(end_archive.run_ids, end_archive.ended);
end
$$;
