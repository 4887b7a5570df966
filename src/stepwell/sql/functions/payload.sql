-- PAYLOAD: what is too large is refused before it is written, whoever sends it; what is large is written first. Who calls these
-- has seen that something is large: below 1 MiB, or 10000 elements, nobody is asked.

-- Refuse values that are larger than pgflow.payload_limits allows.
create or replace function pgflow.check_payloads(payloads jsonb[], what text) returns void
language plpgsql stable as $$
declare
  most constant int := (select l.max_payload from pgflow.payload_limits l);
  largest int;
begin
  if pg_column_size(payloads) <= most then   -- nor is one of them; to look at each is to copy it
    return;
  end if;
  largest := (select max(pg_column_size(p)) from unnest(payloads) p);
  if largest > most then
    perform pgflow.raise('PF413', format('%s has %s bytes as jsonb, and this database takes %s', what, largest, most),
      'Keep what is large in a table or a file store and pass its key, or call pgflow.set_payload_limits.');
  end if;
end
$$;

-- A large output goes to where it stays before anything is judged, and is not in the entry any more: all that judges and moves hands
-- entries on, some ten times, each time through a file. Answers with what is left to judge. If its claim is over, that is all of it.
-- Locks: the task, whose run the caller holds; so what is judged next is the same claim.
create or replace function pgflow.write_ahead(id bigint, token bigint, outcome text, document jsonb, held uuid[]) returns jsonb
language plpgsql as $$
declare
  run pgflow.step_ref;
  kind text;
begin
  if outcome not in ('completed', 'done') then
    return document;
  end if;
  select t.run_id, t.version_id, t.step_slug into run from pgflow.step_tasks t
  where t.message_id = id and t.claim_token = token and t.run_id = any (held) for no key update;
  if not found then
    return document;
  end if;
  kind := (select r.kind from pgflow.runs r where r.run_id = run.run_id);
  if kind = 'flow' and outcome = 'completed' then
    update pgflow.step_tasks t set output = document, status = 'completed' where t.message_id = id;
    return null;
  elsif kind = 'job' and outcome = 'completed' then
    update pgflow.runs r set output = document where r.run_id = run.run_id;
    return null;
  elsif kind = 'machine' and outcome = 'done' then
    update pgflow.runs r set output = document -> 'result' where r.run_id = run.run_id;
    return document - 'result';
  end if;
  return document;
end
$$;

-- Refuse map steps that would have more tasks than pgflow.payload_limits allows.
create or replace function pgflow.check_width(ready pgflow.step_ref[]) returns void
language plpgsql stable as $$
declare
  most constant int := (select l.max_elements from pgflow.payload_limits l);
  wide record;
begin
  select s.flow_slug, s.step_slug, s.initial_tasks into wide
  from unnest(ready) r
  join pgflow.step_states s on s.run_id = any (array[r.run_id]) and s.step_slug = r.step_slug
  where s.initial_tasks > most limit 1;
  if found then
    perform pgflow.refuse_width(wide.flow_slug, wide.step_slug, wide.initial_tasks, most);
  end if;
end
$$;

create or replace function pgflow.refuse_width(flow_slug text, step_slug text, elements int, most int) returns void
language plpgsql as $$
begin
  perform pgflow.raise('PF413', format('flow %L: step %L would map over %s elements, and this database takes %s',
    flow_slug, step_slug, elements, most), 'Map over batches of them, or call pgflow.set_payload_limits.');
end
$$;

-- Change what this database takes; null leaves a limit as it is. Locks: the one row.
create or replace function pgflow.set_payload_limits(max_payload int default null, max_elements int default null)
returns table (payload_bytes int, map_elements int)
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  return query
  update pgflow.payload_limits l
  set max_payload = coalesce(set_payload_limits.max_payload, l.max_payload),
      max_elements = coalesce(set_payload_limits.max_elements, l.max_elements)
  returning l.max_payload, l.max_elements;
exception when check_violation then
  perform pgflow.raise('PF422', 'these limits cannot be', 'max_payload is 1048576 to 267386880 bytes, max_elements 10000 or more.');
end
$$;
