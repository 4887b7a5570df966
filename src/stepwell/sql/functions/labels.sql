-- LABELS: tags to find a run by, and metadata to read beside it. Locks: the run.

-- What a start, a schedule or a person says of a run must stay small: it is read with every list.
create or replace function pgflow.check_labels(tags jsonb, metadata jsonb) returns void
language plpgsql stable as $$
declare
  wrong text;
begin
  if jsonb_typeof(tags) <> 'array' or jsonb_array_length(tags) > 20 then
    perform pgflow.raise('PF422', 'tags are a list of at most 20 texts');
  end if;
  select t.value::text into wrong from jsonb_array_elements(tags) t
  where jsonb_typeof(t.value) <> 'string' or length(t.value #>> '{}') not between 1 and 100 limit 1;
  if found then
    perform pgflow.raise('PF422', format('%s cannot be a tag', left(wrong, 100)), 'A tag is a text of 1 to 100 characters.');
  end if;
  if jsonb_typeof(metadata) <> 'object' or octet_length(metadata::text) > 8192 then
    perform pgflow.raise('PF422', 'metadata is an object of at most 8 KiB of JSON');
  end if;
end
$$;

-- The tags in the options of a start, each once, in their order; null when there are none.
create or replace function pgflow.tags_in(tags jsonb) returns text[]
language sql immutable as $$
  select array_agg(t.tag order by t.place)
  from (select v.tag, min(v.place) as place from jsonb_array_elements_text(tags) with ordinality v (tag, place) group by 1) t;
$$;

-- What was said of the runs of these tasks, of each run once; nothing of runs of which nothing was said.
create or replace function pgflow.labels_of(ids bigint[]) returns table (run_id uuid, labels text)
language sql stable as $$
  select l.run_id, json_build_object('tags', l.tags, 'metadata', l.metadata)::text
  from (
    select distinct on (r.run_id) r.run_id, r.tags, r.metadata
    from unnest(ids) i
    cross join lateral (select t.run_id from pgflow.step_tasks t where t.message_id = i offset 0) t
    -- fenced: few runs have labels, and the planner would look through all of them in the order of their ids
    cross join lateral (select r.run_id, r.tags, r.metadata from pgflow.runs r where r.run_id = t.run_id offset 0) r
    where r.tags is not null or r.metadata is not null) l;
$$;

-- Add tags and take some away; metadata is written into what is there, and a null takes a name away. Answers with what
-- the run has then.
create or replace function pgflow.label_run(
  run_id uuid, add_tags text[] default '{}', remove_tags text[] default '{}', metadata jsonb default '{}', actor text default null
) returns table (tags text[], metadata_now jsonb)
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
#variable_conflict use_column
declare
  held constant text := pgflow.lock_run(label_run.run_id);
  run pgflow.runs;
  wanted text[];
  known jsonb;
begin
  select * into run from pgflow.runs r where r.run_id = label_run.run_id;
  wanted := coalesce(pgflow.tags_in(to_jsonb(array(
    select t from unnest(run.tags || add_tags) t where t <> all (remove_tags)))), '{}');
  perform pgflow.check_labels(to_jsonb(wanted), label_run.metadata);
  known := (coalesce(run.metadata, '{}') || label_run.metadata)
    - array(select m.key from jsonb_each(label_run.metadata) m where m.value = 'null');
  perform pgflow.check_labels('[]', known);
  if wanted <> coalesce(run.tags, '{}') or known <> coalesce(run.metadata, '{}') then
    update pgflow.runs r set tags = nullif(wanted, '{}'), metadata = nullif(known, '{}') where r.run_id = label_run.run_id;
    perform pgflow.write_audit(pgflow.now(), actor, 'label', 'run', label_run.run_id::text, label_run.run_id,
      jsonb_build_object('add', nullif(add_tags, '{}'), 'remove', nullif(remove_tags, '{}'),
        'metadata', nullif(label_run.metadata, '{}')));
  end if;
  return query select wanted, known;
end
$$;

create or replace function pgflow.keep_tags() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp set jit = off set enable_seqscan = off as $$
begin
  if tg_op <> 'INSERT' then
    delete from pgflow.run_tags t using unnest(old.tags) o (tag)
    where t.tag = any (array[o.tag]) and t.started_at = old.started_at and t.run_id = old.run_id;
  end if;
  if tg_op <> 'DELETE' then
    insert into pgflow.run_tags (tag, started_at, run_id)
    select distinct n.tag, new.started_at, new.run_id from unnest(new.tags) n (tag) order by 1;
  end if;
  return null;
end
$$;
