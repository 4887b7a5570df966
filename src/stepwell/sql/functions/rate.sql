-- RATE: how often. Locks: buckets by key, after slots.

-- Rate limits, as a token bucket per partition that is told by one time: what was spent is earned back until `spent_until`,
-- and a task may run when that is no further away than the burst. Who may not is promised its turn and delayed until then;
-- who comes later stands behind the last of those that are delayed, whatever its priority. A promised task that comes when
-- the tokens are there goes first; else it has the next turn after those that are spent. Answers with the delayed tasks.
create or replace function pgflow.stand_in_line(ids bigint[], at timestamptz) returns bigint[]
language plpgsql as $$
declare
  keys constant text[] := array(
    select distinct t.rate_limit
    from unnest(ids) i cross join lateral (select * from pgflow.step_tasks t where t.message_id = i offset 0) t
    where t.rate_limit is not null order by 1);
  late bigint[];
begin
  if keys = '{}' then
    return '{}';
  end if;
  insert into pgflow.buckets as b (key, spent_until)
  select k, at from unnest(keys) k order by k
  on conflict (key) do update set key = excluded.key;        -- made or there: locked
  with line as (
    select t.message_id, b.key, l.capacity / l.per_second as burst,
      least(coalesce(t.weight, 1), l.capacity) / l.per_second as cost,     -- a limit that was lowered stops nobody for ever
      extract(epoch from greatest(b.spent_until - at, '0')) as spent,
      extract(epoch from b.last_turn - at) as promised, t.promised as expected,
      case when t.promised then t.message_id else i.place end as place   -- in the order in which they came
    from unnest(ids) with ordinality i (id, place)
    cross join lateral (select * from pgflow.step_tasks t where t.message_id = i.id and t.rate_limit is not null offset 0) t
    cross join lateral (
      select b.key, b.spent_until, coalesce((
          select d.ready_at from pgflow.step_tasks d
          where d.rate_limit = b.key and d.stage = 'delayed' and d.promised
          order by d.rate_limit desc, d.ready_at desc limit 1), at) as last_turn
      from pgflow.buckets b where b.key = t.rate_limit offset 0) b
    join pgflow.limits l on l.kind = 'rate' and l.name = split_part(t.rate_limit, '/', 1)
    where (select r.paused_at from pgflow.runs r where r.run_id = t.run_id) is null
  ), ordered as (
    select l.*, sum(l.cost) over (partition by l.key order by l.expected desc, l.place) as upto from line l
  ), judged as (                             -- a millionth of a second is nobody's fault
    select o.*, o.spent + o.upto - o.burst <= 1e-6 and (o.expected or o.promised <= 0) as goes from ordered o
  ), turned as (
    select j.*, case when j.expected then j.spent + j.upto - j.burst
      else greatest(j.promised, j.spent + coalesce(sum(j.cost) filter (where j.goes) over (partition by j.key), 0) - j.burst, 0)
        + sum(j.cost) filter (where not j.goes) over (partition by j.key order by j.expected desc, j.place) end as turn
    from judged j
  ), bucket as (
    update pgflow.buckets b
    set spent_until = at + make_interval(secs => s.spent + s.granted)
    from (
      select t.key, max(t.spent) as spent, coalesce(sum(t.cost) filter (where t.goes), 0) as granted
      from turned t group by t.key) s
    where b.key = s.key
  ), delayed as (
    update pgflow.step_tasks t
    set stage = 'delayed', promised = true, ready_at = at + make_interval(secs => u.turn)
    from turned u where t.message_id = any (array[u.message_id]) and not u.goes
    returning t.message_id
  )
  select coalesce(array_agg(d.message_id), '{}') into late from delayed d;
  return late;
end
$$;
