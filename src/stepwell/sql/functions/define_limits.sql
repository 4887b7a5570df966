-- DEFINE, limits: what the code says of them, and what a start may ask for.

-- What an index can hold of a value: itself, or its digest when it is long.
create or replace function pgflow.key_text(value text) returns text
language sql immutable
begin atomic
  select case when length(value) <= 512 then value
    when value is not null then 'sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex') end;
end;

-- A gate or a rate that is declared: as it is, or completed by what the input has at a path; null: no limit.
create or replace function pgflow.completed_by(declared text, path text[], subject jsonb) returns text
language sql immutable
begin atomic
  select case when path is null then declared else declared || pgflow.key_text(subject #>> path) end;
end;

-- A path that an option or a move names; null when it names none.
create or replace function pgflow.path_in(said jsonb, name text) returns text[]
language sql immutable
begin atomic
  select case when jsonb_typeof(said -> name) = 'array' then array(select jsonb_array_elements_text(said -> name)) end;
end;

-- What the code says of its limits. A limit that the code no longer names stays: others may use it.
create or replace function pgflow.ensure_limits(limits jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  at constant timestamptz := pgflow.now();
  changed text[];
begin
  -- what was spent at another rate is worth as many tokens as before
  update pgflow.buckets b set spent_until = at + (b.spent_until - at) * (l.per_second / (i ->> 'perSecond')::float8)
  from jsonb_array_elements(limits) i join pgflow.limits l on l.kind = 'rate' and l.name = i ->> 'name'
  where i ->> 'kind' = 'rate' and l.per_second <> (i ->> 'perSecond')::float8 and split_part(b.key, '/', 1) = l.name
    and b.spent_until > at;
  with written as (
    insert into pgflow.limits as l (kind, name, capacity, per_second)
    select i ->> 'kind', i ->> 'name', (i ->> 'capacity')::int, (i ->> 'perSecond')::float8
    from jsonb_array_elements(limits) i
    order by 1, 2
    on conflict (kind, name) do update set capacity = excluded.capacity, per_second = excluded.per_second
    where (l.capacity, l.per_second) is distinct from (excluded.capacity, excluded.per_second)
    returning l.kind, l.name
  )
  select array_agg(w.name) filter (where w.kind = 'rate') into changed from written w;
  -- turns that were promised at another rate are off: who has one asks again
  update pgflow.step_tasks t set ready_at = at
  where t.stage = 'delayed' and t.promised and split_part(t.rate_limit, '/', 1) = any (changed) and t.ready_at > at;
end
$$;

-- Refuse what is no gate, a limit that nobody configured, and a weight that no burst could ever pay.
create or replace function pgflow.check_limits(gates text[], rates text[], weights float8[]) returns void
language plpgsql stable as $$
declare
  bad record;
begin
  select g as name into bad from unnest(gates) g where g !~ '^(key/|limit/.)' limit 1;
  if found then
    perform pgflow.raise('PF422', format('%L is no gate: a gate is key/… or limit/<name>/<partition>', bad.name));
  end if;
  select split_part(g, '/', 2) as name into bad from unnest(gates) g
  where g like 'limit/%' and not exists (
    select from pgflow.limits l where l.kind = 'concurrency' and l.name = split_part(g, '/', 2)) limit 1;
  if found then
    perform pgflow.raise('PF422', format('there is no concurrency limit %L in this database', bad.name),
      'List it in the limits of the app, and deploy that.');
  end if;
  select split_part(r, '/', 1) as name, w as weight, l.capacity into bad
  from unnest(rates, weights) u (r, w)
  left join pgflow.limits l on l.kind = 'rate' and l.name = split_part(r, '/', 1)
  where r is not null and (l.name is null or coalesce(w, 1) > l.capacity or not w > 0) limit 1;
  if found and bad.capacity is null then
    perform pgflow.raise('PF422', format('there is no rate limit %L in this database', bad.name),
      'List it in the limits of the app, and deploy that.');
  elsif found and not bad.weight > 0 then
    perform pgflow.raise('PF422', format('a weight of %s is not above 0', bad.weight));
  elsif found then
    perform pgflow.raise('PF422', format('a weight of %s is above the burst of rate limit %L, which is %s: it could never run',
      bad.weight, bad.name, bad.capacity));
  end if;
end
$$;
