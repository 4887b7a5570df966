-- SEARCH: runs by what they are, a page at a time, in the order of their starts (of one moment: of their ids), which never
-- changes: a page that follows another neither misses nor repeats a run, whatever starts and ends meanwhile. No locks.

-- Runs that fit all of `filters`, newest first:
--   flow, kind, status: lists, any of them · key, key_prefix, schedule: texts · tags: a list, all of them · parent: a run id
--   since, until, ended_since, ended_until: times, or numbers of seconds before now · input, metadata: objects that those of
--   the run contain · before, after: {"id": …, "at": …} of a run that is not part of the page any more · oldest_first: true
-- The text of the query is put together of the words below, never of what callers say: that comes as parameters, and is
-- planned for at each call. What is likely to be least is read first (source), the other filters look at that. An index that has
-- the order is walked in it, also where statistics say that sorting is as good: they may be of the first day.
create or replace function pgflow.search_runs(filters jsonb default '{}', most int default 50) returns setof pgflow.run_listed
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off set enable_sort = off as $$
#variable_conflict use_column
declare
  f constant jsonb := pgflow.checked_filters(filters);
  statuses constant text[] := pgflow.texts_in(f -> 'status');
  upper_end constant pgflow.run_place := pgflow.place_of(f -> 'before');
  lower_end constant pgflow.run_place := pgflow.place_of(f -> 'after');
  open constant uuid[] := case when 'started' = any (statuses) then pgflow.open_runs(5000) end;
  line constant text := format('order by r.started_at %1$s, r.run_id %1$s limit $18',
    case when f -> 'oldest_first' = 'true' then 'asc' else 'desc' end);
  page uuid[];
begin
  execute format('select array(select r.run_id from %s)', pgflow.runs_source(f, pgflow.runs_condition(f), line, open is not null))
  into page
  using pgflow.texts_in(f -> 'flow'), pgflow.texts_in(f -> 'kind'), statuses, f ->> 'key',
    pgflow.beginning_with(coalesce(f ->> 'key_prefix', 'schedule:' || (f ->> 'schedule') || ':')),
    pgflow.texts_in(f -> 'tags'), pgflow.moment_in(f -> 'since'), pgflow.moment_in(f -> 'until'),
    pgflow.moment_in(f -> 'ended_since'), pgflow.moment_in(f -> 'ended_until'), f -> 'input', f -> 'metadata',
    (f ->> 'parent')::uuid, upper_end.at, upper_end.id, lower_end.at, lower_end.id, search_runs.most, open,
    pgflow.rarest_tag(pgflow.texts_in(f -> 'tags'));
  return query
  select r.run_id, r.flow_slug, r.kind, v.version, r.status, r.key, r.started_at,
    coalesce(r.completed_at, r.failed_at, r.cancelled_at), r.remaining_steps, r.failed_step, r.error_message, r.paused_at,
    r.parent_run_id, coalesce(r.tags, '{}'), coalesce(r.metadata, '{}')
  from unnest(page) with ordinality as p (id, place)
  join pgflow.runs r on r.run_id = any (array[p.id])
  join pgflow.versions v on v.version_id = r.version_id
  order by p.place;
end
$$;

-- Where the runs come from, what is asked of them, and how many there may be. Each source is walked in the order of the page if there is an
-- index for it, and only as far as the page goes; `offset 0` keeps the planner from other ways.
create or replace function pgflow.runs_source(f jsonb, condition text, line text, few_open boolean) returns text
language plpgsql immutable as $$
declare
  rows constant text := '(select r.* from pgflow.runs r where %s' || pgflow.runs_range(f, 'r') || ' offset 0) r where '
    || condition || ' ' || line;
  status text;
  branches text[] := '{}';
begin
  if f ? 'key' then
    return format(rows, 'r.key = $4');
  elsif f ? 'parent' then
    return format(rows, 'r.parent_run_id = $13');
  elsif f ? 'tags' then
    return 'pgflow.run_tags t cross join lateral (select r.* from pgflow.runs r where r.run_id = t.run_id offset 0) r'
      || ' where t.tag = $20' || pgflow.runs_range(f, 't') || ' and ' || condition || ' ' || replace(line, 'r.', 't.');
  elsif f ? 'key_prefix' or f ? 'schedule' then
    return format(rows, 'r.key like $5');
  elsif f ? 'input' and pgflow.finds_inputs() then
    return format(rows, 'r.input @> $11');
  end if;
  foreach status in array coalesce(pgflow.texts_in(f -> 'status'), '{any}') loop
    branches := branches || case when status = 'started' and few_open then
        '(select r.run_id, r.started_at from unnest($19) i (id)'
        || ' cross join lateral (select r.* from pgflow.runs r where r.run_id = i.id offset 0) r where r.status = ''started'' and '
        || condition || ')'
      else pgflow.runs_of_flows(condition || case status when 'any' then ''
        when 'failed' then ' and r.failed_at is not null and r.status = ''failed'''
        when 'cancelled' then ' and r.cancelled_at is not null and r.status = ''cancelled'''
        when 'completed' then ' and r.status = ''completed''' else ' and r.status = ''started''' end, line) end;
  end loop;
  return '(' || array_to_string(branches, ' union all ') || ') r ' || line;
end
$$;

-- A page of each definition that can have one in the page of all: those whose first run is among the first.
create or replace function pgflow.runs_of_flows(condition text, line text) returns text
language sql immutable as $$
  select '(select r.run_id, r.started_at from (select f.flow_slug from pgflow.flows f cross join lateral ' || replace(page, '$18', '1')
    || ' where ($1 is null or f.flow_slug = any ($1)) and ($2 is null or f.kind = any ($2)) ' || line || ') f cross join lateral '
    || page || ')'
  from (select '(select r.run_id, r.started_at from pgflow.runs r where r.flow_slug = f.flow_slug and ' || condition || ' '
    || line || ') r' as page) p;
$$;

create or replace function pgflow.runs_condition(f jsonb) returns text
language sql immutable as $$
  select concat_ws(' and ', 'true',
    case when f ? 'flow' then 'r.flow_slug = any ($1)' end, case when f ? 'kind' then 'r.kind = any ($2)' end,
    case when f ? 'status' then 'r.status = any ($3)' end, case when f ? 'key' then 'r.key = $4' end,
    case when f ? 'key_prefix' or f ? 'schedule' then 'r.key like $5' end, case when f ? 'tags' then 'r.tags @> $6' end,
    case when f ? 'ended_since' then 'coalesce(r.completed_at, r.failed_at, r.cancelled_at) >= $9' end,
    case when f ? 'ended_until' then 'coalesce(r.completed_at, r.failed_at, r.cancelled_at) < $10' end,
    case when f ? 'input' then 'r.input @> $11' end, case when f ? 'metadata' then 'r.metadata @> $12' end,
    case when f ? 'parent' then 'r.parent_run_id = $13' end) || pgflow.runs_range(f, 'r');
$$;

-- The part of the order that is asked for. No run ends before it starts.
create or replace function pgflow.runs_range(f jsonb, rows text) returns text
language sql immutable as $$
  select replace(concat(
    case when f ? 'since' then ' and r.started_at >= $7' end, case when f ? 'until' then ' and r.started_at < $8' end,
    case when f ? 'ended_until' then ' and r.started_at <= $10' end,
    case when f ? 'before' then ' and (r.started_at, r.run_id) < ($14, $15)' end,
    case when f ? 'after' then ' and (r.started_at, r.run_id) > ($16, $17)' end), 'r.', rows || '.');
$$;

-- The live runs, by their open tasks; null when there are more tasks than that: then live runs are found where they began.
create or replace function pgflow.open_runs(most int) returns uuid[]
language sql stable as $$
  select case when count(*) <= most then coalesce(array_agg(distinct o.run_id), '{}') end
  from (
    (select t.run_id from pgflow.step_tasks t where t.stage = 'ready' limit most + 1) union all
    (select t.run_id from pgflow.step_tasks t where t.stage = 'running' limit most + 1) union all
    (select t.run_id from pgflow.step_tasks t where t.stage = 'delayed' limit most + 1) union all
    (select t.run_id from pgflow.step_tasks t where t.stage = 'parked' limit most + 1) union all
    (select t.run_id from pgflow.step_tasks t where t.stage = 'blocked' limit most + 1) union all
    (select t.run_id from pgflow.step_tasks t where t.stage = 'paused' limit most + 1)) o;
$$;

-- Of several tags, the one with the fewest runs, as far as that is quickly told.
create or replace function pgflow.rarest_tag(tags text[]) returns text
language sql stable as $$
  select w.tag from unnest(tags) with ordinality w (tag, place)
  order by case when cardinality(tags) > 1 then (
    select count(*) from (select from pgflow.run_tags t where t.tag = w.tag limit 1000) c) end, w.place limit 1;
$$;

-- Whether somebody made an index for what inputs contain: on pgflow.runs using gin (input jsonb_path_ops).
create or replace function pgflow.finds_inputs() returns boolean
language sql stable as $$
  select exists (
    select from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am a on a.oid = c.relam
    join pg_attribute t on t.attrelid = i.indrelid and t.attnum = i.indkey[0]
    where i.indrelid = 'pgflow.runs'::regclass and i.indisvalid and i.indpred is null and a.amname = 'gin' and t.attname = 'input');
$$;

create or replace function pgflow.checked_filters(filters jsonb) returns jsonb
language plpgsql stable as $$
declare
  known constant text[] := array['flow', 'kind', 'status', 'key', 'key_prefix', 'schedule', 'tags', 'parent', 'since', 'until',
    'ended_since', 'ended_until', 'input', 'metadata', 'before', 'after', 'oldest_first'];
  given jsonb;
  unknown text;
begin
  select jsonb_object_agg(e.key, case when e.key in ('flow', 'kind', 'status', 'tags') and jsonb_typeof(e.value) = 'string'
    then jsonb_build_array(e.value) else e.value end)
  into given from jsonb_each(filters) e where e.value <> 'null';
  given := coalesce(given, '{}');
  select e.key into unknown from jsonb_each(given) e where e.key <> all (known) limit 1;
  if found then
    perform pgflow.raise('PF422', format('runs have no filter %L', unknown), 'There are: ' || array_to_string(known, ', ') || '.');
  end if;
  select s into unknown from jsonb_array_elements_text(given -> 'status') s
  where s not in ('started', 'completed', 'failed', 'cancelled') limit 1;
  if found then
    perform pgflow.raise('PF422', format('no run has status %L', unknown), 'It is started, completed, failed or cancelled.');
  end if;
  return given - case when given -> 'tags' = '[]' then 'tags' else '' end;
end
$$;

create or replace function pgflow.texts_in(list jsonb) returns text[]
language sql immutable as $$
  select case when list is not null then array(select distinct e from jsonb_array_elements_text(list) e) end;
$$;

-- A time, or so many seconds before now.
create or replace function pgflow.moment_in(value jsonb) returns timestamptz
language sql stable as $$
  select case when jsonb_typeof(value) = 'number' then pgflow.now() - make_interval(secs => value::float8)
    else (value #>> '{}')::timestamptz end;
$$;

create or replace function pgflow.beginning_with(prefix text) returns text
language sql immutable as $$
  select regexp_replace(prefix, '([\\%_])', '\\\1', 'g') || '%';
$$;

-- Where a run stands in the order. Who says its time too can go on after the run was deleted.
create or replace function pgflow.place_of(run jsonb) returns pgflow.run_place
language plpgsql stable as $$
declare
  place pgflow.run_place;
begin
  place.id := (run ->> 'id')::uuid;
  place.at := coalesce((run ->> 'at')::timestamptz, (select r.started_at from pgflow.runs r where r.run_id = place.id));
  if place.id is not null and place.at is null then
    perform pgflow.raise('PF404', format('no run %s, so no page before or after it', place.id), 'Begin again with the first page.');
  end if;
  return place;
end
$$;

-- The runs whose ids lie between these two: those that begin with some digits.
create or replace function pgflow.runs_between(first uuid, last uuid, most int default 2) returns setof uuid
language plpgsql stable set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  return query select r.run_id from pgflow.runs r where r.run_id between first and last order by r.run_id limit most;
end
$$;
