-- DEFINE, limits: what the code says of them, and what a start may ask for.

-- A gate or a rate that is declared: as it is, or completed by what the input has at a path; null: no limit.
create or replace function pgflow.completed_by(declared text, path text[], subject jsonb) returns text
language sql immutable
begin atomic
  select case when path is null then declared else declared || (subject #>> path) end;
end;

-- What the code says of its limits. A limit that the code no longer names stays: others may use it.
create or replace function pgflow.ensure_limits(limits jsonb) returns void
language plpgsql set search_path = '' as $$
begin
  insert into pgflow.limits as l (kind, name, capacity, per_second)
  select i ->> 'kind', i ->> 'name', (i ->> 'capacity')::int, (i ->> 'perSecond')::float8
  from jsonb_array_elements(limits) i
  order by 1, 2
  on conflict (kind, name) do update set capacity = excluded.capacity, per_second = excluded.per_second
  where (l.capacity, l.per_second) is distinct from (excluded.capacity, excluded.per_second);
end
$$;

-- Refuse a limit that nobody configured, and a weight that no burst could ever pay.
create or replace function pgflow.check_limits(gates text[], rates text[], weights float8[]) returns void
language plpgsql stable as $$
declare
  bad record;
begin
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
  where r is not null and (l.name is null or coalesce(w, 1) > l.capacity) limit 1;
  if found and bad.capacity is null then
    perform pgflow.raise('PF422', format('there is no rate limit %L in this database', bad.name),
      'List it in the limits of the app, and deploy that.');
  elsif found then
    perform pgflow.raise('PF422', format('a weight of %s is above the burst of rate limit %L, which is %s: it could never run',
      bad.weight, bad.name, bad.capacity));
  end if;
end
$$;
